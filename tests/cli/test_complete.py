"""`lmtui complete --print`: what comes out, and that the file stays as it is."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from lmtui.config.settings import item, names
from lmtui.engine.sampling_settings import SamplingSettings
from tests.cli import program
from tests.cli.program import Result
from tests.engine import tiny
from tests.tui.terminal import running

TEXT = "The quick brown fox jumps over the lazy dog.\nThe qui"
START = ["event", "model", "precision", "dtype", "device", "prompt_ids", "typed"]
TOKEN = ["event", "index", "id", "text", "bytes", "piece", "logprob", "rank"]
TOKEN += ["entropy", "varentropy", "effective_choices", "typicality"]
TOKEN += ["sampled_prob", "guessed", "top"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A text that ends within a word."""
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def run(*arguments: str, stdin: bytes = b"", engine: Any = None) -> Result:
    """Run the program with a tiny random model."""
    return program.run(*arguments, stdin=stdin, engine=engine or tiny.engine())


def greedy(text: str, cursor: int | None = None, tokens: int = 48, **how: Any) -> str:
    """What the engine writes there, with a newline at the end."""
    wanted = SamplingSettings(temperature=0, max_tokens=tokens)
    place = len(text) if cursor is None else cursor
    pieces = [
        item.piece
        for item in tiny.engine().document.complete(text, place, wanted, **how)
    ]
    return "".join(pieces).removesuffix("\n") + "\n"


def test_print_writes_the_continuation_and_a_newline_and_no_file(file: Path) -> None:
    before, beside = file.stat(), os.listdir(file.parent)
    done = run("complete", str(file), "--print")
    assert (done.code, done.err) == (0, "")
    assert done.out == greedy(TEXT)
    assert file.read_bytes() == TEXT.encode()
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(file.parent) == beside


def test_at_continues_from_the_given_location(file: Path) -> None:
    asked = ("complete", str(file), "--print", "--max-tokens", "7", "--at")
    assert run(*asked, "1:13").out == greedy(TEXT, 12, 7)
    assert run(*asked, "2:5").out == greedy(TEXT, 49, 7)
    for beyond in ("2:8", "2:99", "250:17"):
        assert run(*asked, beyond).out == greedy(TEXT, None, 7)
    assert run(*asked, "1:999").out == greedy(TEXT, TEXT.index("\n"), 7)


def drawn(file: Path, *flags: str) -> Result:
    """A continuation of eight tokens as JSON; without a sampler's flag it is greedy."""
    done = run("complete", str(file), "--json", "--max-tokens", "8", *flags)
    assert (done.code, done.err) == (0, "")
    return done


def test_sampling_flags_draw_and_the_same_seed_draws_the_same(file: Path) -> None:
    flags = ("--temperature", "5", "--top-k", "0", "--top-p", "1", "--min-p", "0")
    texts = {}
    for seed in ("1", "2", "3", "1"):
        start, *tokens, end = drawn(file, *flags, "--seed", seed).events
        assert start["sampling"]["seed"] == end["seed"] == int(seed)
        assert [start["sampling"][name] for name in ("temperature", "top_k")] == [5, 0]
        text = [token["id"] for token in tokens]
        assert texts.setdefault(seed, text) == text
    assert len(set(map(tuple, texts.values()))) > 1
    printed = [
        run("complete", str(file), "--print", *flags, "--seed", "1").out
        for _ in range(2)
    ]
    assert printed[0] == printed[1] != greedy(TEXT)


def test_continuation_is_greedy_until_a_flag_draws(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_TEMPERATURE", "1.5")
    start, *tokens, _ = drawn(file).events
    assert start["sampling"]["temperature"] == 0
    assert [token["rank"] for token in tokens] == [1] * len(tokens)
    start, *_, end = drawn(file, "--seed", "4").events
    assert (start["sampling"]["temperature"], end["seed"]) == (1.5, 4)
    start, *_, end = drawn(file, "--top-k", "3").events
    assert start["sampling"]["seed"] == end["seed"] is not None
    start, *tokens, _ = drawn(file, "--top-k", "3", "--temperature", "0").events
    assert [token["rank"] for token in tokens] == [1] * len(tokens)


def test_logit_bias_counts_from_the_first_token_on(file: Path) -> None:
    flags = ("--temperature", "0", "--top", "0")
    file.write_text("The quick.")
    before = drawn(file, *flags).events[1]["text"]
    after = drawn(file, *flags, "--logit-bias", f"{before}=ban").events[1]["text"]
    assert after != before
    unknown = ("--logit-bias", " no token has this text=2")
    done = run("complete", str(file), "--print", "--max-tokens", "2", *unknown)
    assert "logit-bias has no effect on" in done.err


def test_every_sampling_flag_of_chat_is_taken() -> None:
    helps = {
        verb: set(run(verb, "--help").out.split()) for verb in ("chat", "complete")
    }
    flags = {item(name).flag for name in names("sampling")} & helps["chat"]
    assert {"--temperature", "--xtc-probability", "--logit-bias"} <= flags
    assert flags <= helps["complete"]


def test_stdin_is_read_like_a_file(file: Path) -> None:
    asked = ("--print", "--max-tokens", "5")
    raw = b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode()
    file.write_bytes(raw)
    expected = greedy(TEXT, None, 5)
    assert run("complete", str(file), *asked).out == expected
    assert run("complete", "-", *asked, stdin=raw).out == expected
    at = (*asked, "--at", "2:4")
    assert run("complete", "-", *at, stdin=raw).out == greedy(TEXT, 48, 5)


def test_single_line_ends_before_its_newline(file: Path) -> None:
    assert "\n" in greedy(TEXT)[:-1]
    done = run("complete", str(file), "--print", "--single-line", "--json")
    assert done.events[-1]["finish"] == "newline"
    text = run("complete", str(file), "--print", "--single-line").out
    assert text == greedy(TEXT, single_line=True)
    assert text.count("\n") == 1
    assert greedy(TEXT).startswith(text[:-1])


def test_json_has_the_promised_fields(file: Path) -> None:
    done = run("complete", str(file), "--json", "--top", "3", "--max-tokens", "6")
    start, *tokens, end = done.events
    assert list(start) == [*START, "sampling", "chain"]
    assert start["typed"] == " qui"
    assert start["sampling"]["temperature"] == 0
    spelled = tiny.tokenizer().decode(start["prompt_ids"])
    assert spelled + start["typed"] == TEXT
    assert all(list(token) == TOKEN for token in tokens)
    assert [token["index"] for token in tokens] == list(range(6))
    assert {len(token["top"]) for token in tokens} == {3}
    for token in tokens:
        assert [row["cut"] for row in token["top"]] == [None, "g", "g"]
        assert [row["sampled_prob"] for row in token["top"]] == [1, 0, 0]
    assert (end["finish"], end["tokens"]) == ("length", 6)
    assert start["sampling"]["seed"] == end["seed"]
    assert end["logprob"] == pytest.approx(math.fsum(t["logprob"] for t in tokens))
    assert end["prompt_tokens"] == len(start["prompt_ids"])
    written = "".join(token["piece"] for token in tokens) + end["piece"]
    assert written.removesuffix("\n") + "\n" == greedy(TEXT, None, 6)


def test_files_named_with_with_are_read_first(file: Path) -> None:
    other = file.with_name("other.txt")
    other.write_text("The quiet dog.")
    plain = run("complete", str(file), "--json").events
    given = run("complete", str(file), "--json", "--with", str(other)).events
    (part,) = given[0]["with"]
    assert part == {
        "name": "other.txt",
        "tokens": part["total"],
        "total": part["total"],
    }
    grown = len(given[0]["prompt_ids"]) - len(plain[0]["prompt_ids"])
    assert grown > part["tokens"] > 0
    assert "with" not in plain[0]
    refused = run("complete", str(file), "--print", "--with", "nowhere.txt")
    assert refused.code == 2
    assert "there is no such file" in refused.err


def test_full_context_ends_the_completion(file: Path) -> None:
    small = tiny.engine(context=24)
    asked = ("complete", str(file), "--json", "--max-tokens", "500")
    end = run(*asked, engine=small).events[-1]
    assert end["finish"] == "context"
    assert end["tokens"] < 24


def test_ctrl_c_ends_the_completion_as_cancelled(file: Path) -> None:
    script = {"engine": {"answers": ["a b c d e f"]}, "interrupt": 1}
    done = program.run("complete", str(file), "--json", script=script)
    assert (done.code, done.err) == (130, "")
    assert (done.events[-1]["finish"], done.events[-1]["tokens"]) == ("cancelled", 3)
    plain = program.run("complete", str(file), "--print", script=script)
    assert (plain.code, plain.out) == (130, "a b c\n")


@pytest.mark.parametrize(
    ("content", "arguments", "title"),
    [
        (b"a", [], "the editor needs a terminal"),
        (b"a", ["--print", "--at", "3"], "this is not a LINE:COL: 3"),
        (b"a\0b", ["--print"], "this is a binary file"),
        (b"\xef\xbb\xbf\xff", ["--print"], "the text is not valid UTF-8"),
        (b"", ["--print"], "there is nothing to continue"),
        (b"a b", ["--print", "--at", "1:1"], "there is nothing to continue"),
        (b"a", ["--print", "--max-tokens", "0"], "max-tokens is out of range: 0"),
        (b"a", ["--print", "--top", "-1"], "--top takes at least 0: -1"),
        (b"a", ["--print", "--temperature", "-1"], "temperature is out of range: -1"),
    ],
)
def test_bad_input_is_exit_2(
    file: Path, content: bytes, arguments: list[str], title: str
) -> None:
    file.write_bytes(content)
    names = [str(file)]
    if b"\xff" not in content and content and b"\0" not in content:
        names.append("-")
    for name in names:
        done = run("complete", name, *arguments, stdin=content)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"error: {title}")
        assert done.err.splitlines()[1].startswith("hint: ")


def test_piped_text_that_cannot_be_edited_is_refused_on_a_terminal() -> None:
    for content, *at, title in (
        (b"a\xff", "the text is not valid UTF-8"),
        (b"a\0b", "this is a binary file"),
        (b"a", "--at", "2", "this is not a LINE:COL: 2"),
        (b"a" * 20_000_001, "the file is too large to edit"),
    ):
        with running("complete", "-", *map(str, at), piped=content) as terminal:
            assert terminal.end() == 2
        assert f"error: {title}" in terminal.text()
