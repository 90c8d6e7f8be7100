"""The chat on a pseudo-terminal: keys in bursts, as a fast typist sends them."""

from __future__ import annotations

from pathlib import Path

from tests.cli.program import run
from tests.tui.terminal import QUIT, running

HISTORY, NEW = b"\x0f", b"\x0e"


def test_keys_typed_behind_ctrl_o_go_to_the_history_screen(home: Path) -> None:
    with running("chat", engine={"answers": ["the lighthouse", "a ship"]}) as terminal:
        terminal.until("ready")
        terminal.ask(b"where to\r", "the lighthouse")
        terminal.ask(NEW + b"and by what\r", "a ship")
        since = len(terminal.written)
        terminal.type(HISTORY + b"lighthouse")
        terminal.until("1 hit", since=since)
        terminal.until("lighthouse", since=since)
        assert terminal.leave() == 0


def test_prompt_sent_just_before_quitting_is_stored(home: Path) -> None:
    with running("chat", engine={"answers": ["an answer"] * 9}) as terminal:
        terminal.until("ready")
        terminal.type(b"the last words\r" + QUIT)
        assert terminal.end() == 0
    assert "error" not in terminal.text()
    assert "the last words" in run("history", "list").out
