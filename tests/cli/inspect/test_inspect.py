"""`lmtui inspect`: the numbers, the picture, and what is refused."""

from __future__ import annotations

import io
import json
import math
import os
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from tokenizers import Tokenizer, normalizers

from lmtui import notation
from lmtui.cli.inspect.json_output import write_tokens
from lmtui.cli.inspect.plain import (
    DIFFERENCE,
    SURPRISE,
    surprise_style,
    write_plain,
)
from lmtui.cli.inspect.text_scores import Rules, score_each
from lmtui.cli.output import Output
from lmtui.engine.engine import LocalEngine
from lmtui.engine.protocol import Engine
from lmtui.files import TextSource
from tests.cli.program import SGR, run, run_in_terminal
from tests.fakes import FakeEngine
from tests.models import tiny

TOKEN = ["event", "index", "start", "end", "id", "text", "bytes"]
TOKEN += ["logprob", "rank", "entropy"]
TOKEN += ["varentropy", "effective_choices", "typicality"]
SUMMARY = ["event", "file", "model", "precision", "dtype", "tokens", "scored"]
SUMMARY += ["logprob", "mean_nll", "perplexity", "bits_per_byte", "window", "stride"]
SUMMARY += ["bos", "bits_per_character", "min_k", "min_k_plus_plus"]
SUMMARY += ["bits_per_zlib_bit", "characters", "bytes", "ranks"]
SUMMARY += ["entropy_bits", "accuracy"]
OTHER = {"models": {"other": {"seed": 5, "name": "other"}}}
TEXT = "Naïve café\n\tBrücke 橋 end"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small text with characters of several bytes."""
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT.encode())
    return path


def test_json_has_the_promised_fields(file: Path) -> None:
    first, *tokens, summary = run("inspect", str(file), "--json").events
    assert all(list(token) == TOKEN for token in (first, *tokens))
    assert list(summary) == SUMMARY
    assert summary["file"] == str(file)
    assert summary["tokens"] == len(tokens) + 1 == summary["scored"] + 1
    assert (summary["window"], summary["stride"]) == (2048, 1024)
    assert (first["logprob"], first["rank"], first["entropy"]) == (None, None, None)
    data = [bytes.fromhex(token["bytes"]) for token in (first, *tokens)]
    assert b"".join(data).decode() == TEXT
    for token, own in zip((first, *tokens), data, strict=True):
        assert own in TEXT[token["start"] : token["end"]].encode()


def test_the_totals_follow_from_the_tokens(file: Path) -> None:
    for bos, size in (("no", len(TEXT.encode()) - 1), ("yes", len(TEXT.encode()))):
        *tokens, summary = run("inspect", str(file), "--json", "--bos", bos).events
        scored = [t["logprob"] for t in tokens if t["logprob"] is not None]
        assert len(scored) == summary["scored"] == size
        assert summary["bos"] == (bos == "yes")
        assert summary["logprob"] == pytest.approx(math.fsum(scored), abs=1e-9)
        mean = -math.fsum(scored) / len(scored)
        assert summary["mean_nll"] == pytest.approx(mean)
        assert summary["perplexity"] == pytest.approx(math.exp(mean))
        in_bits = -math.fsum(scored) / math.log(2)
        assert summary["bits_per_byte"] == pytest.approx(in_bits / size)
        scored.sort()
        lowest = math.fsum(scored[: size // 5]) / (size // 5)
        assert summary["min_k"] == pytest.approx(lowest, abs=1e-6)


def test_numbers_of_a_distribution_follow_from_its_entropy_and_varentropy(
    file: Path,
) -> None:
    first, *tokens, _ = run("inspect", str(file), "--json").events
    assert first["varentropy"] is first["effective_choices"] is None
    for token in tokens:
        assert token["effective_choices"] == pytest.approx(math.exp(token["entropy"]))
        z = (token["logprob"] + token["entropy"]) / math.sqrt(token["varentropy"])
        assert token["typicality"] == pytest.approx(z)


def test_top_gives_alternatives(file: Path) -> None:
    for rules in ([], ["--top", "0"]):
        events = run("inspect", str(file), "--json", *rules).events
        assert not any("top" in event for event in events)
    first, second, *_ = run("inspect", str(file), "--json", "--top", "3").events
    assert "top" not in first
    assert [list(row) for row in second["top"]] == [["id", "text", "logprob"]] * 3


@pytest.mark.parametrize(("data", "tokens"), [(b"", 0), (b"a", 1)])
def test_too_little_to_score_gives_nulls(
    tmp_path: Path, data: bytes, tokens: int
) -> None:
    file = tmp_path / "short"
    file.write_bytes(data)
    done = run("inspect", str(file), "--json")
    summary = done.events[-1]
    assert (done.code, summary["tokens"], summary["scored"]) == (0, tokens, 0)
    for name in ("logprob", "mean_nll", "perplexity", "bits_per_byte"):
        assert summary[name] is None
    plain = run("inspect", str(file))
    assert plain.code == 0
    assert plain.out.count("–") == 3


def test_bom_and_line_endings_are_scored_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "dos.txt"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")
    tokens = run("inspect", str(file), "--json").events[:-1]
    assert bytes.fromhex("".join(t["bytes"] for t in tokens)) == file.read_bytes()


def test_text_that_the_tokenizer_composes_is_covered_and_told(tmp_path: Path) -> None:
    folder = tiny.save_llama(tmp_path / "model")
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.normalizer = normalizers.NFC()
    backend.save(str(folder / "tokenizer.json"))
    engine = LocalEngine.open(str(folder), device="cpu")
    document = TextSource("-", "cafe\u0301 e\u0301 x")
    out = io.StringIO()
    score_each([engine], [document], Rules(), partial(write_tokens, Output(out), 0))
    *tokens, summary = map(json.loads, out.getvalue().splitlines())
    end = 0
    for token in tokens:
        assert token["start"] <= end
        end = max(end, token["end"])
    assert end == len(document.text)
    assert summary["rewritten"] == 4
    shown = plain(engine, document)
    assert shown.startswith(document.text)
    assert "; 4 characters read as others\n" in shown


def plain(engine: Engine, document: TextSource) -> str:
    """What a pipe gets."""
    out = io.StringIO()
    console = Console(file=out, width=80, markup=False, highlight=False)
    score_each([engine], [document], Rules(), partial(write_plain, console))
    return out.getvalue()


def refusals(tmp_path: Path) -> list[tuple[str, str]]:
    """Files that can't be inspected, each with the title of its error."""
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\0")
    (tmp_path / "late").write_bytes(b"a" * 100_000 + b"\0")
    (tmp_path / "latin1").write_bytes("café".encode("latin-1"))
    os.mkfifo(tmp_path / "pipe")
    return [
        (str(tmp_path), "this is a folder, not a text"),
        (str(tmp_path / "missing"), "there is no such file"),
        (str(tmp_path / "binary"), "this is a binary file, not a text"),
        (str(tmp_path / "late"), "this is a binary file, not a text"),
        (str(tmp_path / "latin1"), "the text is not valid UTF-8"),
        (str(tmp_path / "binary" / "below"), "the file can't be read"),
        ("/dev/zero", "this is a binary file, not a text"),
        ("x" * 5000, "the file can't be read"),
    ]


def test_unreadable_file_is_refused_before_any_output(tmp_path: Path) -> None:
    for name, title in refusals(tmp_path):
        done = run("inspect", name)
        assert (done.code, done.out) == (2, ""), name
        assert done.err.startswith(f"error: {title}: {name}"), done.err
        assert "\nhint: " in done.err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--json", "--plain"], "exclude each other"),
        (["--plain", "--html", "out"], "exclude each other"),
        (["--against", "other", "--against-adapter", "x"], "exclude each other"),
        (["--window", "1"], "window"),
        (["--window", "99999"], "the window can't be used"),
        (["--stride", "0"], "stride"),
        (["--window", "8", "--stride", "9"], "the stride can't be used"),
        (["--bos", "maybe"], "--bos"),
        (["--top", "-1"], "--top"),
    ],
)
def test_bad_options_are_exit_2(file: Path, arguments: list[str], error: str) -> None:
    done = run("inspect", str(file), *arguments)
    assert (done.code, done.out) == (2, "")
    title, hint = done.err.splitlines()
    assert error in title and hint.startswith("hint: ")


def test_windows_without_overlap_need_a_bos(file: Path) -> None:
    rules = ["--window", "100", "--stride", "100"]
    refused = run("inspect", str(file), *rules)
    assert refused.code == 2 and "--bos yes" in refused.err.splitlines()[1]
    *tokens, summary = run(
        "inspect", str(file), *rules, "--bos", "yes", "--json"
    ).events
    assert summary["scored"] == len(tokens)


def test_piped_stdin_is_read_without_a_file_argument() -> None:
    piped, named = run("inspect", stdin="xyz"), run("inspect", "-", stdin="xyz")
    assert piped == named
    assert (piped.code, piped.err) == (0, "") and "xyz" in piped.out


def test_terminal_without_a_file_is_refused_with_a_hint() -> None:
    code, written = run_in_terminal("inspect")
    assert code == 2
    assert b"error: Missing argument 'FILE'" in written
    assert b"hint: Name a text file, or pipe a text" in written


def test_stdin_is_read_only_once() -> None:
    done = run("score", "-", "-", stdin="xyz")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == "error: stdin can be read only once"


def test_empty_text_is_noted_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "nothing.txt"
    file.touch()
    done = run("inspect", str(file))
    assert (done.code, done.err) == (0, f"note: {file} is empty; nothing is scored\n")
    assert run("inspect").err == "note: stdin is empty; nothing is scored\n"


@pytest.mark.parametrize("form", [["--json"], ["--json", "--against", "other"]])
def test_ctrl_c_leaves_whole_lines(file: Path, form: list[str]) -> None:
    done = run("inspect", str(file), *form, script=OTHER | {"interrupt": 1})
    assert (done.code, done.err) == (130, "")
    assert [event["index"] for event in done.events] == [0, 1, 2]


def test_plain_in_a_pipe_is_the_text_and_a_summary(file: Path) -> None:
    out = run("inspect", str(file)).out
    assert not SGR.search(out)
    assert out.startswith("Naïve café\n        Brücke 橋 end\n")
    lines = out.splitlines()
    names = ("tokens", "Σ log P, nats", "perplexity", "bits/byte", "model")
    assert [line[:17].strip() for line in lines[3:]] == list(names)
    assert "p > 0.8" not in out
    assert max(len(line) for line in out.splitlines()) <= 80


def test_plain_says_why_a_single_token_has_no_numbers(tmp_path: Path) -> None:
    file = tmp_path / "one"
    file.write_text("a")
    out = run("inspect", str(file)).out
    assert "1, 0 scored: the first has no context" in out
    assert max(len(line) for line in out.splitlines()) <= 80
    file.write_text("ab")
    assert "2, 1 scored\n" in run("inspect", str(file)).out


def test_plain_on_a_terminal_has_colours_and_a_legend(file: Path) -> None:
    code, written = run_in_terminal("inspect", str(file), "--plain", size=(24, 40))
    assert code == 0
    text = written.decode()
    assert "surprisal  <0.32 (p > 0.8)  " in SGR.sub("", text)
    assert "\x1b[" in text


def test_heat_map_steps_differ_without_colour(file: Path) -> None:
    asked = ("inspect", str(file), "--plain")
    _, styles = run_in_terminal(*asked, "--no-color")
    assert styles == run_in_terminal(*asked, env={"NO_COLOR": "1"})[1]
    found = SGR.findall(styles.decode())
    codes = {code for sequence in found for code in sequence[2:-1].split(";")}
    assert not {code for code in codes if code[:1] in {"3", "4", "9"} and code[1:]}
    assert {"1", "2", "4", "7"} <= codes


@pytest.mark.parametrize("styles", [SURPRISE, DIFFERENCE])
def test_heat_map_steps_have_distinct_attributes(styles: tuple[str, ...]) -> None:
    colours = {"cyan", "magenta", "red"}
    attributes = [frozenset(style.split()) - colours for style in styles]
    assert len(set(attributes)) == len(styles)


def test_surprise_style_maps_bits_to_heat_map_steps() -> None:
    assert surprise_style(None) == "none"
    assert [surprise_style(b) for b in (0, 0.5, 2, 5, 9, 99)] == list(SURPRISE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a\n",
        "\n\n",
        "é\nü",
        pytest.param("x" * 90, id="long"),
        "a\r\nb",
    ],
)
def test_plain_draws_the_whole_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmtui.cli.inspect.plain._PART", 40)
    shown = plain(FakeEngine(), TextSource("-", text))
    shown = shown.partition("\ntokens ")[0].replace("⏎", "")
    assert shown == text.replace("\r", "␍") + ("" if text.endswith("\n") else "\n")


def test_positions_count_from_one() -> None:
    found = [notation.location("ab\ncé\n\nd", offset) for offset in (0, 1, 3, 4, 7)]
    assert found == ["1:1", "1:2", "2:1", "2:2", "4:1"]


def test_json_is_written_token_by_token() -> None:
    out, seen = io.StringIO(), []
    engine = FakeEngine(on_token=lambda index: seen.append(out.getvalue().count("\n")))
    write = partial(write_tokens, Output(out), 0)
    score_each([engine], [TextSource("-", "abcd")], Rules(), write)
    assert seen == [0, 1, 2, 3]


ANY_TEXTS = {
    "empty": "",
    "one token": "a",
    "one character of several tokens": "橋",
    "newlines": "\n\n\n",
    "a long line": "word " * 60,
    "hostile": "\x1b[2J\u202e</script>\x07",
}


@pytest.mark.parametrize("form", ["--plain", "--json", "--html", "--against"])
def test_any_text_is_scored(form: str, tmp_path: Path) -> None:
    for name, text in ANY_TEXTS.items():
        file = tmp_path / "text"
        file.write_text(text, encoding="utf-8", newline="")
        values = {"--html": [str(tmp_path / "out.html")], "--against": ["other"]}
        done = run("inspect", str(file), form, *values.get(form, []), script=OTHER)
        assert done.code == 0, name
        assert "Traceback" not in done.err
        empty = f"note: {file} is empty; nothing is scored\n"
        assert (empty in done.err) == (name == "empty")
        if form != "--html":
            assert done.out and done.err == (empty if name == "empty" else ""), name
        assert "\x1b" not in done.out
        assert not {"nan", "inf", "None"} & set(done.out.split())
