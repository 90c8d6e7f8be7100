"""A training that is stopped in plain tmux, and the shell after it."""

from __future__ import annotations

from pathlib import Path

from lmtui.train.run_folder import RunFolder
from tests.tui.tmux import needs_tmux, server


@needs_tmux
def test_keys_begin_pause_and_stop_a_training(home: Path, tmp_path: Path) -> None:
    notes = tmp_path / "walks"
    notes.mkdir()
    (notes / "a.md").write_text("a note")
    with server(home) as tmux:
        tmux.start("finetune", str(notes), worker={"hold": 4, "steps": 6})
        tmux.shows("Enter begins")
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
        resume = "lmtui finetune --resume --name walks"
        tmux.shows("left with 130", "stopped; saved at step 3", resume)
        assert (tmux.state("alternate_on"), tmux.state("cursor_flag")) == ("0", "1")
    assert RunFolder.named("walks").last_checkpoint == 3
