"""Nothing foreign reaches a terminal as anything but visible text."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.program import SGR, run, run_in_terminal

HOSTILE = (
    "red \x1b[31m",
    "clipboard \x1b]52;c;cm0gLXJm\x07",
    "title \x1b]0;owned\x1b\\",
    "c1 \u009b31m\u0090q\u009c",
    "up \x1b[5A\r\b\x0b\x0c\x7f",
    "bidi \u202egnp.exe\u202c\u2066x\u2069\u200f",
    "lines \u2028\u2029\x85",
    "tags \U000e0041 markup [red]x[/red] [link=file:///]",
)
ANSWER = [part.encode().decode() for part in HOSTILE]
FORBIDDEN = {
    *(chr(code) for code in range(0x20) if code not in (0x09, 0x0A)),
    *(chr(code) for code in range(0x7F, 0xA0)),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
    *"\u2066\u2067\u2068\u2069\ufff9\ufffa\ufffb",
}


def assert_harmless(written: bytes) -> str:
    """Only visible text, newlines and colours of ours; the text without colours."""
    text = SGR.sub("", written.decode("utf-8").replace("\r\n", "\n"))
    assert not FORBIDDEN & set(text), [c for c in text if c in FORBIDDEN]
    return text


def test_chat_draws_a_hostile_answer_and_prefill() -> None:
    code, written = run_in_terminal(
        "chat", "--once", "hello", "--prefill", HOSTILE[1],
        script={"engine": {"answers": [ANSWER]}},
    )  # fmt: skip
    assert code == 0
    assert not SGR.search(written.decode())
    text = assert_harmless(written)
    for drawn in ("red ␛[31m", "⟨U+009B⟩31m", "⟨U+202E⟩gnp.exe", "[red]x[/red]"):
        assert drawn in text
    assert text.count("␛]52;c;") == 2


def test_json_escapes_what_a_terminal_obeys() -> None:
    script = {"engine": {"answers": [ANSWER], "name": HOSTILE[3]}}
    code, written = run_in_terminal("chat", "--once", "hi", "--json", script=script)
    assert code == 0
    lines = assert_harmless(written).splitlines()
    events = [json.loads(line) for line in lines]
    assert "".join(e.get("piece", "") for e in events) == "".join(ANSWER)
    assert events[0]["model"] == HOSTILE[3]


@pytest.mark.parametrize("options", [["--plain"], ["--json", "--top", "3"]])
def test_inspect_draws_a_hostile_file(tmp_path: Path, options: list[str]) -> None:
    file = tmp_path / "hostile.txt"
    file.write_bytes("\n".join(HOSTILE).encode())
    code, written = run_in_terminal("inspect", str(file), *options)
    assert code == 0
    text = assert_harmless(written)
    if "--json" not in options:
        assert "red ␛[31m" in text
        assert "[red]x[/red] [link=file:///]" in text


def test_inspect_stays_harmless_when_piped_on(tmp_path: Path) -> None:
    """A pipe may end in a pager that obeys: the plain view is drawn there as well."""
    file = tmp_path / "hostile.txt"
    file.write_bytes("\n".join(HOSTILE).encode())
    assert_harmless(run("inspect", str(file)).out.encode())


@pytest.mark.parametrize("verb", [["inspect"], ["chat", "--once", "a", "--system"]])
def test_errors_quote_hostile_names_harmlessly(verb: list[str]) -> None:
    name = "@no\x1b]52;c;AAAA\x07\nhint: run me\u202e"
    code, written = run_in_terminal(*verb, name)
    assert code == 2
    text = assert_harmless(written)
    assert "\nhint: run me" not in text
    assert "␛]52;c;AAAA␇" in text


def test_a_hostile_option_is_quoted_harmlessly() -> None:
    code, written = run_in_terminal("chat", "--\x1b[2J\u009b")
    assert code == 2
    assert_harmless(written)


def test_a_hostile_settings_file_is_quoted_harmlessly(home: Path) -> None:
    (home / "config.toml").write_text('model = "\x1b[31m\n', encoding="utf-8")
    code, written = run_in_terminal("config")
    assert code == 2
    assert_harmless(written)


def test_file_name_that_is_not_utf8_is_drawn_harmlessly(tmp_path: Path) -> None:
    name = os.fsdecode(bytes(tmp_path) + b"/\xff\x9b.txt")
    Path(name).write_text("ab", encoding="utf-8")
    done = run("inspect", "--json", name)
    assert done.code == 0
    assert done.events[-1]["file"] == name
    code, written = run_in_terminal("score", name, name)
    assert code == 0
    assert_harmless(written)
