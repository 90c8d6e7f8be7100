"""The chat on a pseudo-terminal: keys in bursts, as a fast typist sends them."""

from __future__ import annotations

from pathlib import Path

from tests.cli.program import run
from tests.tui.terminal import QUIT, running


def test_prompt_sent_just_before_quitting_is_stored(home: Path) -> None:
    with running("chat", engine={"answers": ["an answer"] * 9}) as terminal:
        terminal.until("ready")
        terminal.type(b"the last words\r" + QUIT)
        assert terminal.end() == 0
    assert "error" not in terminal.text()
    assert "the last words" in run("history", "list").out
