"""`lmtui tokens`: ids, bytes and counts of a text, of one tokenizer or two."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from tests.byte_level import trained
from tests.cli.program import run
from tests.engine import tiny
from tests.test_imports import printed_by

TEXT = "The quick  naïve 日本 cat<|endoftext|>"


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """A tokenizer, and one that cuts otherwise."""
    other = PreTrainedTokenizerFast(
        tokenizer_object=trained(["the quick naïve fox"], size=280),
        eos_token=AddedToken("<|endoftext|>", special=True),
    )
    for name, tokenizer in (("one", tiny.tokenizer()), ("other", other)):
        tokenizer.save_pretrained(tmp_path / name)
        (tmp_path / name / "config.json").write_text('{"model_type": "llama"}')
    return [str(tmp_path / "one"), str(tmp_path / "other")]


def test_json_has_the_tokens_that_a_text_is_read_as(folders: list[str]) -> None:
    done = run("tokens", TEXT, "--model", folders[0], "--json")
    *tokens, summary = done.events
    encoding = tiny.engine().encode(TEXT, bos="no")
    assert [token["id"] for token in tokens] == list(encoding.ids)
    spans = [(token["start"], token["end"]) for token in tokens]
    assert spans == list(encoding.spans)
    assert bytes.fromhex("".join(t["bytes"] for t in tokens)).decode() == TEXT
    counts = {"tokens": len(tokens), "characters": len(TEXT)}
    counts |= {"bytes": len(TEXT.encode())}
    assert summary == {"event": "summary", "model": "one", **counts}
    assert run("tokens", "-", "--model", folders[0], "--json", stdin=TEXT) == done


def test_two_tokenizers_stand_side_by_side(folders: list[str]) -> None:
    flags = ["--model", folders[0], "--against", folders[1]]
    events = run("tokens", TEXT, "--json", *flags).events
    own, other = (
        [event["id"] for event in events if event["model"] == name and "id" in event]
        for name in ("one", "other")
    )
    heads, *rows = run("tokens", TEXT, *flags).out.splitlines()
    assert heads.split() == ["one", "ids", "other", "ids"]
    assert rows.pop().startswith(
        f"other: {len(other)} tokens, {len(TEXT)} characters, "
    )
    assert rows.pop().startswith(f"one: {len(own)} tokens, {len(TEXT)} characters, ")
    ids = [[], []]  # type: ignore[var-annotated]
    for row in rows:
        _, first, _, second = [cell for cell in row.split("  ") if cell]
        ids[0] += map(int, first.split())
        ids[1] += map(int, second.split())
    assert ids == [own, other]


def test_plain_has_the_bytes_of_each_token(folders: list[str]) -> None:
    heads, first, *_, numbers = run(
        "tokens", TEXT, "--model", folders[0]
    ).out.splitlines()
    assert heads.split() == ["one", "ids", "bytes"]
    assert first.endswith("54 68 65")
    assert numbers.startswith("one: ") and numbers.endswith(" bytes a token")
    assert "0 tokens" in run("tokens", "", "--model", folders[0]).out


def test_what_has_no_tokenizer_is_refused(folders: list[str]) -> None:
    for flags in (["--model", "nothere"], ["--against", "http://localhost:1"]):
        done = run("tokens", "a", "--model", folders[0], *flags)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("error: ") and "\nhint: " in done.err
    assert run("tokens", "a\udcff").err.startswith("error: the text is not valid UTF-8")


def test_neither_torch_nor_transformers_is_loaded(folders: list[str]) -> None:
    code = f"""
import sys
from lmtui.cli.main import main
main(["tokens", "a b", "--model", {folders[0]!r}, "--against", {folders[1]!r}])
print("loaded:", *{{"torch", "transformers"}} & set(sys.modules))
"""
    assert printed_by(code)[-1] == "loaded:"
