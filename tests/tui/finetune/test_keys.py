"""Every key of the training's screen in plain tmux at 80x24, with a scripted worker."""

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


def begun(start: Start) -> Tmux:
    """A training that waits for a word before its last step."""
    tmux = start(hold=4)
    tmux.press("Enter")
    tmux.shows("step 3 of 4")
    return tmux


@needs_tmux
def test_keys_scroll_the_plan_and_leave_without_a_run(start: Start) -> None:
    tmux = start(skips=[f"maps/{n}.png" for n in range(40)])
    tmux.shows("⟦Question⟧")
    tmux.press("F1")
    tmux.shows("Start the planned training.")
    tmux.press("Escape")
    tmux.lacks("Start the planned training.")
    assert "maps/39.png" not in tmux.screen
    tmux.press("Tab", "End")
    tmux.shows("maps/39.png")
    tmux.press("Home")
    tmux.lacks("maps/39.png")
    tmux.press("Escape")
    tmux.shows("left with 0")
    assert not RunFolder.named("walks").path.exists()


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
def test_keys_resume_a_training_open_its_report_and_chat_with_it(start: Start) -> None:
    tmux = begun(start)
    tmux.press("p")
    tmux.shows("paused · p goes on")
    tmux.press("p")
    tmux.shows("better on your notes", "q leaves")
    tmux.press("r")
    tmux.lacks("q leaves")
    tmux.press("Escape")
    tmux.shows("q leaves")
    tmux.press("c")
    tmux.shows("fake + walks ·")
    tmux.type("kept words")
    tmux.shows("kept words")
    tmux.press("C-q")
    tmux.shows("left with 0")


@needs_tmux
def test_e_opens_the_editor_with_the_trained_adapter(start: Start) -> None:
    tmux = start()
    tmux.press("Enter")
    tmux.shows("q leaves")
    tmux.press("e")
    tmux.shows("fake + walks ·", "line 1, column 1")
    tmux.press("C-q")
    tmux.shows("left with 0", "better on your notes")


@needs_tmux
def test_ctrl_c_saves_the_training_without_a_question(start: Start) -> None:
    tmux = begun(start)
    tmux.press("C-c")
    tmux.shows("left with 130", "stopped; saved at step 3", RESUME)
    assert tmux.state("cursor_flag") == "1"
