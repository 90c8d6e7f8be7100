"""A training that is stopped in plain tmux, and the shell after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lmtui.train.run_folder import RunFolder
from tests.tui.tmux import Tmux, needs_tmux, server

Start = Callable[..., Tmux]
RESUME = "lmtui finetune --resume --name walks"


@pytest.fixture
def start(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Opens the screen, over a worker that does as it is told."""
    monkeypatch.setenv("LMTUI_HOME", str(home))
    notes = tmp_path / "walks"
    notes.mkdir()
    (notes / "a.md").write_text("a note")
    with server(home) as tmux:

        def finetune(**worker: Any) -> Tmux:
            tmux.start("finetune", str(notes), worker=worker)
            tmux.shows("Enter begins")
            return tmux

        yield finetune


@needs_tmux
def test_keys_begin_pause_and_stop_a_training(start: Start) -> None:
    tmux = start(hold=4, steps=6)
    tmux.press("Enter")
    tmux.shows("step 3 of 6", "upon 2")
    tmux.press("p")
    tmux.shows("p goes on")
    tmux.press("Tab", "Tab", "Tab")
    tmux.press("q")
    tmux.shows("Stop the training?", "The step that runs is finished")
    tmux.press("Escape")
    tmux.lacks("Stop the training?")
    tmux.press("q")
    tmux.shows("Stop the training?")
    # A question hears no letter before it can have been read.
    tmux.until(lambda screen: "Stop the" not in screen or tmux.press("s"))
    tmux.shows("left with 130", "stopped; saved at step 3", RESUME)
    assert tmux.state("alternate_on") == "0"
    assert RunFolder.named("walks").last_checkpoint == 3


@needs_tmux
def test_ctrl_c_saves_the_training_without_a_question(start: Start) -> None:
    tmux = start(hold=4)
    tmux.press("Enter")
    tmux.shows("step 3 of 4")
    tmux.press("C-c")
    tmux.shows("left with 130", "stopped; saved at step 3", RESUME)
    assert tmux.state("cursor_flag") == "1"
