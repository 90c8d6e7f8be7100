"""Whatever is inspected, in whatever form: numbers, or one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.program import Result, run

FORMS = ("--plain", "--json", "--summary", "--html", "--against")
TEXTS = {
    "empty": "",
    "one token": "a",
    "one character of several tokens": "橋",
    "newlines": "\n\n\n",
    "a long line": "word " * 800,
    "hostile": "\x1b[2J\u202e</script>\x07",
}
OTHER = {"models": {"other": {"seed": 5, "name": "other"}}}


def inspected(form: str, file: Path, *more: str) -> Result:
    """What the program makes of a file in one of its forms."""
    out = str(file.with_suffix(".html"))
    asked = {"--html": ["--html", out], "--against": ["--against", "other"]}
    return run("inspect", str(file), *asked.get(form, [form]), *more, script=OTHER)


@pytest.mark.parametrize("form", FORMS)
def test_any_text_is_scored(form: str, tmp_path: Path) -> None:
    for name, text in TEXTS.items():
        file = tmp_path / "text"
        file.write_text(text, encoding="utf-8", newline="")
        done = inspected(form, file)
        assert done.code == 0, name
        assert "Traceback" not in done.err
        empty = f"note: {file} is empty; nothing is scored\n"
        assert (empty in done.err) == (name == "empty")
        if form != "--html":
            assert done.out and done.err == (empty if name == "empty" else ""), name
        assert "\x1b" not in done.out
        assert not {"nan", "inf", "None"} & set(done.out.split())


@pytest.mark.parametrize("form", FORMS)
def test_binary_file_is_one_error_in_every_form(form: str, tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\x7fELF\0\xff")
    done = inspected(form, file)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: this is a binary file, not a text: ")
    assert len(done.err.splitlines()) == 2
    assert not file.with_suffix(".html").exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("rules", "error"),
    [
        (["--window", "8", "--stride", "9"], "the stride can't be used"),
        (["--window", "99999"], "the window can't be used"),
    ],
)
def test_impossible_window_or_stride_is_refused(
    form: str, rules: list[str], error: str, tmp_path: Path
) -> None:
    file = tmp_path / "text"
    file.write_text("some text")
    done = inspected(form, file, *rules)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {error}")
    assert "\nhint: Give a --" in done.err


def test_alternatives_are_left_out_without_top(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("some text")
    for rules in ([], ["--top", "0"]):
        lines = inspected("--json", file, *rules).out.splitlines()
        assert not any("top" in json.loads(line) for line in lines)
        assert "best other" not in inspected("--plain", file, *rules).out
