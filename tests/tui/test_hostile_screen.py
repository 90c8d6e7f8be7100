"""Texts that try to break the screen, on a pseudo-terminal, read byte by byte.

Whatever a model, a user, a file or a theme says is drawn. The bytes written hold no
control sequence but the program's own, and the keys still work afterwards.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.tui.hosts import FORBIDDEN
from tests.tui.terminal import CONTROL, Terminal, running

HOSTILE = (
    "\x1b]52;c;QUFB\x07 \x1b]0;owned\x1b\\ \x1b[?1337h \x1bPq\x1b\\ \x9b2J \x85\x90q "
    "\u202egnp.exe\u202c \u2066x\u2069 [bold]x[/x] [@click=app.bell]k[/] [/] "
    "\x00 \x7f \x08\x0b\x0c \u2028\u2029 \U000e0041 "
)
DONE = " DONE"
MESSAGE = "\n █ "
"""The bar beside a message, at the left edge."""
ENDED = "100.0 tok"
"""The engine's own speed: it is shown once an answer has ended."""

OURS = re.compile(r"\x1b\[([\d;]*m|\d+;\d+H|[\d;]*J|\?[\d;]+(h|l|\$p)|[<>]\d*u)")
"""The sequences that the screen is made of."""
POINTER = re.compile(r"\x1b\]22;\w*\x07")
F1, F3, CTRL_END = b"\x1bOP", b"\x1bOR", b"\x1b[1;5F"


def assert_harmless(written: bytes) -> str:
    """Only the screen's own sequences and text that can be drawn; that text."""
    text = written.decode()
    foreign = {s for s in CONTROL.findall(text) if not OURS.fullmatch(s)}
    assert not foreign
    assert "1337" not in "".join(CONTROL.findall(text))
    rest = POINTER.sub("", CONTROL.sub("", text))
    found = {c: rest[max(0, rest.index(c) - 30) :][:60] for c in set(rest) & FORBIDDEN
             if c not in "\r\n"}  # fmt: skip
    assert not found
    return rest


def assert_alive(terminal: Terminal) -> None:
    """What is pasted arrives, drawn at once, and the way out is open."""
    since = len(terminal.written)
    terminal.paste("zqx")
    terminal.until("zqx", since=since)
    assert terminal.leave() == 0


def long(*answers: list[str]) -> dict[str, Any]:
    """An engine that answers these tokens and has room for any prompt."""
    return {"answers": answers, "context": 1_000_000}


def send(terminal: Terminal) -> None:
    """Send a prompt and wait for the end of the answer."""
    terminal.ask(b"hi", "hi")
    terminal.ask(b"\r", ENDED)


def test_hostile_text_from_user_model_and_system_is_only_drawn(
    home: Path, tmp_path: Path
) -> None:
    system = tmp_path / "system.txt"
    system.write_text(HOSTILE.replace("\0", ""), encoding="utf-8")
    engine = {"answers": [HOSTILE + DONE], "name": HOSTILE}
    with running("chat", "--system", f"@{system}", engine=engine) as terminal:
        terminal.until("ready")
        terminal.paste(HOSTILE + "PASTED")
        terminal.until("PASTED")
        terminal.ask(b"\r", ENDED)
        terminal.ask(F3, "Token 1")
        for key in (b"n", b"N", b"\x1b[F", b"\x1b[B", b"\x1b[H"):
            terminal.type(key)
        terminal.ask(b"\x1b", MESSAGE)
        terminal.ask(b"\x1b[A", "PASTED")
        terminal.ask(F1, "Esc closes")
        terminal.ask(b"\x1b", "PASTED" + " " * 60)  # which the help has lain on
        assert_alive(terminal)
    text = assert_harmless(terminal.written)
    assert "␛]52;c;QUFB␇" in text
    assert "⟨U+202E⟩gnp.exe" in text
    assert "[bold]x[/x] [@click=app.bell]k[/]" in text


OVERSIZED = (
    "x" * 10_000,
    "漢字 " * 3_000,
    "e" + "\u0301" * 1000 + " " + "\u0301" * 1000,
    "👨‍👩‍👧‍👦" * 200,
    "\t" * 500,
    "\n" * 2_000,
)


def test_oversized_texts_are_drawn_harmlessly(home: Path) -> None:
    answers = [[text, DONE] for text in OVERSIZED]
    with running("chat", engine=long(*answers)) as terminal:
        terminal.until("ready")
        for text in OVERSIZED:
            terminal.paste(text + "PASTED")
            terminal.until("PASTED", since=len(terminal.written))
            terminal.ask(b"\r", ENDED)
            terminal.ask(F3, "Token 1")
            terminal.ask(CTRL_END, "Token 3")
            terminal.ask(b"\x1b", MESSAGE)
        assert_alive(terminal)
    assert_harmless(terminal.written)


MARKDOWN = {
    "deep": "".join("  " * depth + "- deep\n" for depth in range(100)),
    "quotes": "> " * 200 + "quoted",
    "table": "|" + "a|" * 60 + "\n|" + "-|" * 60 + "\n" + ("|" + "b|" * 60 + "\n") * 60,
    "fence": "```python\nprint('never closed\n" + "x = 1\n" * 200,
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)> <b>" + "<a>" * 500,
    "image": "![picture](https://example.org/x.png) <https://example.org>\n" * 50,
    "links": "[a][b]\n\n[b]: javascript:alert(1)\n\n" * 50,
    "emphasis": "*" * 2_000 + "a" + "_" * 2_000,
    "brackets": "[" * 3_000 + "](" * 1_000,
    "entities": "&#27;[2J &#x9b;2J &#x202e;abc &Tab; &NewLine;",
    "rules": "---\n\n# " * 300,
}


def test_hostile_markdown_is_drawn_harmlessly(home: Path) -> None:
    answers = [[text, "\n\n", DONE] for text in MARKDOWN.values()]
    with running("chat", engine=long(*answers)) as terminal:
        terminal.until("ready")
        for _ in answers:
            send(terminal)
        assert_alive(terminal)
    assert_harmless(terminal.written)


def test_reply_of_two_thousand_lines_keeps_the_keys_alive(home: Path) -> None:
    lines = ["".join(f"line {at + n} *of* many\n\n" for n in range(50))
             for at in range(0, 2_000, 50)]  # fmt: skip
    with running("chat", engine=long([*lines, DONE])) as terminal:
        terminal.until("ready")
        send(terminal)
        terminal.until("line 1999")
        assert_alive(terminal)
    assert_harmless(terminal.written)


def test_hostile_theme_file_names_are_only_drawn(home: Path) -> None:
    folder = home / "themes"
    folder.mkdir()
    broken = folder / "a\x1b]52;c;QUFB\x07[bold]\u202e.toml"
    broken.write_text("name = 3", encoding="utf-8")
    with running("chat", engine={}, size=(40, 300)) as terminal:  # on one line
        terminal.until(lambda text: "ready" in text and "skipped" in text)
        assert_alive(terminal)
    assert "␛]52;c;QUFB␇[bold]" in assert_harmless(terminal.written)
