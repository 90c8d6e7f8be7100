"""The recovery copy of an editor's unsaved text.

It is written while the text changes, and offered when the file is opened. Disks are
waited for on another thread. Saving the file is the subclass's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from textual import on
from textual.message import Message

from lmtui.editing import recovery
from lmtui.editing.recovery import Recovered, RecoveryCopy
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.background import run_in_thread
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.editor.document import language_for
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.screen import LiveScreen

_KEEP_EVERY = 0.5  # seconds between two looks at whether something is to be kept


class KeepingScreen(LiveScreen):
    """An editor with a file behind it and a recovery copy beside that."""

    @dataclass
    class Kept(Message):
        """The unsaved text is in the recovery copy, or its time has not come."""

        revision: int
        done: bool

    @dataclass
    class NotKept(Message):
        """The recovery copy can't be written."""

        error: LmtuiError

    client: EngineClient

    def __init__(
        self,
        make_client: Callable[[Post], EngineClient],
        writing: Writing,
    ) -> None:
        super().__init__(make_client)
        self.editor = GhostEditor(id="editor")
        """Where the text is, also when the screen is being taken down."""
        self._file = writing.file
        self._first_cursor = writing.cursor
        self._recovered = writing.recovered
        self._keeper = RecoveryCopy(writing.file)
        self._kept_revision: int | None = None
        self._told_not_kept = False
        self._opened = self._discarded = False
        self._said_at: tuple[int, int] | None = None
        self.left: Path | LmtuiError | None = None
        """The file whose unsaved text was kept at the end, or why it was not."""

    @property
    def unsaved(self) -> bool:
        """Whether there is text that is not in the file and was not discarded."""
        if not self._opened or self._discarded:
            return False
        return self.editor.text != self._file.text

    def on_mount(self) -> None:
        """Open the text, and offer the recovery copy of a program that was killed."""
        self.editor.load(self._file.text, language_for(self._file.path))
        self.editor.go_to(self._first_cursor)
        self._opened = True
        self.told_of_file()
        self.set_interval(_KEEP_EVERY, self._keep)
        if self._recovered is not None:
            self.call_after_refresh(self._offer_recovered, self._recovered)

    def on_unmount(self) -> None:
        """However the program ends, unsaved text is found again."""
        if not self.unsaved:
            self._keeper.close()
            return
        try:
            recovery.write(self._file.path, self._file.digest, self.editor.text)
        except LmtuiError as error:
            self.left = error
        else:
            self.left = self._file.path

    def told_of_file(self) -> None:
        """Follow a change of the file or of its state."""
        raise NotImplementedError

    # What the status line says.

    @property
    def doing(self) -> str:
        """Current work of the model, in a few words."""
        raise NotImplementedError

    def say(self, words: str) -> None:
        """Show words in the status line until the text or the cursor changes."""
        self._status.state, self._said_at = words, self._here

    def unsay(self) -> None:
        """Show in the status line only what the model does."""
        self._said_at = None
        self.tell_doing()

    def tell_doing(self) -> None:
        """Show what the model does, unless other words are shown."""
        if self._said_at is None:
            self._status.state = self.doing

    @property
    def _here(self) -> tuple[int, int]:
        return self.editor.revision, self.editor.cursor_index

    @on(GhostEditor.Edited)
    @on(GhostEditor.CursorMoved)
    def withdraw(self, event: GhostEditor.Edited | GhostEditor.CursorMoved) -> None:
        """Remove the words that were shown, unless the user typed along the ghost
        text."""
        if isinstance(event, GhostEditor.Edited) and event.ghost_stays:
            self._said_at = self._said_at and self._here
        elif self._said_at not in (None, self._here):
            self.unsay()

    # Recovery.

    def _keep(self) -> None:
        revision = self.editor.revision
        if revision == self._kept_revision or self._discarded:
            return
        text, keeper = self.editor.text, self._keeper

        def work() -> Message:
            try:
                return self.Kept(revision, keeper.note(text, time.monotonic()))
            except LmtuiError as error:
                return self.NotKept(error)

        bug = LmtuiError("the recovery copy can't be written", "", "See the log.")
        run_in_thread(work, self.post_message, otherwise=self.NotKept(bug))

    @on(Kept)
    def note_kept(self, event: Kept) -> None:
        if event.done:
            self._kept_revision, self._told_not_kept = event.revision, False

    @on(NotKept)
    def show_not_kept(self, event: NotKept) -> None:
        """Show the error once; writing the copy is tried again."""
        if not self._told_not_kept:
            self._told_not_kept = True
            self._show_error(event.error)

    def _offer_recovered(self, recovered: Recovered) -> None:
        name = visible_line(self._file.path.name)
        if recovered.open_elsewhere:
            self.notify(
                f"{name} is open in another editor (process {recovered.pid}) with "
                "text that is not saved there.",
                severity="warning",
                markup=False,
            )
            return
        stamp = self._file.stamp
        details = [
            f"{name} was edited and not saved before the program ended.",
            f"kept    {told(recovered.time)}",
            f"file    {told(stamp.modified) if stamp else 'is not on disk'}",
        ]
        if recovered.base != self._file.digest:
            details.append("The file has changed since that text was begun.")
        choices = [
            Choice("r", "Recover", "open the recovered text"),
            Choice("d", "Discard", "open the file; delete the recovered text"),
            Choice("l", "Later", "open the file; ask again next time"),
        ]
        self.app.push_screen(
            ConfirmDialog("There is unsaved text", details, choices, harmless="l"),
            partial(self._answer_recovered, recovered),
        )

    def _answer_recovered(self, recovered: Recovered, answer: str | None) -> None:
        if answer == "r":
            self.editor.replace_span(0, self.editor.characters, recovered.text)
            self.editor.go_to(0)
        if answer not in ("r", "d"):
            return
        revision, text = self.editor.revision, self.editor.text

        def work() -> Message:
            # What is taken over is in this program's own copy before the other goes.
            done = self._keeper.note(text, time.monotonic())
            if done:
                recovery.discard(recovered)
            return self.Kept(revision, done)

        run_in_thread(work, self.post_message, otherwise=self.Kept(revision, False))


def told(seconds: float) -> str:
    """Format a time, in seconds since the epoch, as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
