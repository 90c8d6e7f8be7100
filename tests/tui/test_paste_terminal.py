"""What is pasted into the program on a pseudo-terminal is text, whatever it holds."""

from __future__ import annotations

from pathlib import Path

from tests.tui.terminal import running

F1, F9 = b"\x1bOP", b"\x1b[20~"

PASTES = (
    (b"a \xc3 b\xff", "a � b�"),
    (b"one \x1b[31m two \x1b[0m three", "one ␛[31m two ␛[0m three"),
    (b"x" + F1 + F9 + b"\x1b\ry\x11", "x␛OP␛[20~␛\ny␑"),
)


def test_a_paste_is_text_whatever_it_holds(home: Path) -> None:
    with running("chat", engine={"answers": ["HELLO"] * len(PASTES)}) as terminal:
        terminal.until("ready")
        for pasted, shown in PASTES:
            since = len(terminal.written)
            terminal.type(b"\x1b[200~" + pasted + b"\x1b[201~")
            terminal.type(b" END")
            for line in shown.split("\n"):
                terminal.until(line, since=since)
            terminal.ask(b"\r", "HELLO")
        assert terminal.leave() == 0


# A terminal that says it is no pixel wide breaks the parser at the next click.
BROKEN = b"\x1b[48;24:1;80:1;0:1;0:1t\x1b[<0;5;5M"


def test_broken_terminal_input_ends_with_an_error_and_keeps_the_draft(
    home: Path,
) -> None:
    with running("chat") as terminal:
        terminal.until("ready")
        terminal.ask("not sent ä".encode(), "not sent ä")
        terminal.type(BROKEN)
        assert terminal.end() == 1
    text = terminal.text()
    assert "error: this is a bug in lmtui" in text and "Traceback" not in text
    file = home / "state" / "unsent.txt"
    assert f"note: the unsent message is kept in {file}" in text
    assert file.read_text("utf-8") == "not sent ä"
    assert "Traceback" in (home / "logs" / "lmtui.log").read_text("utf-8")
