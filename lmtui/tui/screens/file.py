"""The file behind an editor: saving it, under its name or another.

Owns when the text is written where, and what is asked before. Everything that waits
for a disk runs beside the screen. What the text is worth to a model is the subclass's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message

from lmtui.edit.naming import path_named
from lmtui.edit.recovery import Keeper
from lmtui.edit.saving import Change, Saved, changed_on_disk, save
from lmtui.edit.text_file import TextFile, load
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.aside import aside
from lmtui.tui.batches import Post
from lmtui.tui.screens.ask import Ask, Choice
from lmtui.tui.screens.keeping import KeepingScreen, told
from lmtui.tui.widgets.line_prompt import LinePrompt
from lmtui.tui.writing_options import Writing
from lmtui.tui.writing_runner import WritingRunner

Then = Callable[[], None]
"""What is done once the text is safe."""


class FileScreen(KeepingScreen):
    """An editor that writes its file; has a `LinePrompt`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", id="file.save", priority=True,
                tooltip="Write the text into its file."),
        Binding("ctrl+o", "save_as", "Save as", id="file.save-as", priority=True,
                tooltip="Write the text into another file, and go on with that one."),
    ]  # fmt: skip

    @dataclass
    class Stored(Message):
        """The text was written."""

        saved: Saved
        then: Then | None

    @dataclass
    class Conflicted(Message):
        """Somebody else has changed the file meanwhile."""

        change: Change
        then: Then | None

    @dataclass
    class Occupied(Message):
        """There is a file already where the text is to be saved."""

        path: Path
        then: Then | None

    @dataclass
    class Failed(Message):
        """Something about the file could not be done; the text is as it was."""

        error: LmtuiError

    @dataclass
    class Reloaded(Message):
        """The file was read again."""

        file: TextFile

    def __init__(
        self, make_runner: Callable[[Post], WritingRunner], writing: Writing
    ) -> None:
        super().__init__(make_runner, writing)
        self._saving: Then | None = None
        self._leaving: Then | None = None  # once what is being saved is safe
        self._under_way = 0  # questions to the disk

    def _ask_disk(self, work: Callable[[], Message], *, otherwise: LmtuiError) -> None:
        self._under_way += 1
        aside(work, self.post_message, otherwise=self.Failed(otherwise))

    @on(Stored)
    @on(Conflicted)
    @on(Occupied)
    @on(Failed)
    @on(Reloaded)
    def note_answer(self, event: Message) -> None:
        """The disk has answered; what it says has to be seen before one leaves."""
        self._under_way -= 1
        if not isinstance(event, self.Stored):
            self._leaving = None

    # Saving.

    def action_save(self) -> None:
        """Save into the file, or ask for another name where it can't be written to."""
        self.save_then(None)

    def save_then(self, then: Then | None) -> None:
        """Save, and then do something."""
        if self._file.read_only:
            self.notify("The file is read-only; save the text under another name.")
            self._saving = then
            self._ask_name()
            return
        self._store(then=then)

    def _store(
        self,
        path: Path | None = None,
        *,
        then: Then | None = None,
        sure: bool = False,
    ) -> None:
        file, text = self._file, self.editor.text

        def work() -> Message:
            try:
                if not sure and path is None and (change := changed_on_disk(file)):
                    return self.Conflicted(change, then)
                if not sure and path is not None and path.exists():
                    return self.Occupied(path, then)
                return self.Stored(save(file, text, path), then)
            except LmtuiError as error:
                return self.Failed(error)

        bug = LmtuiError("the file was not saved", str(file.path), "See the log.")
        self._ask_disk(work, otherwise=bug)

    @on(Stored)
    def show_stored(self, event: Stored) -> None:
        """It is safe now."""
        moved = event.saved.file.path != self._file.path
        if moved:
            self._keeper.close()
            self._keeper = Keeper(event.saved.file)
        self._file = event.saved.file
        aside(self._rebase, self.post_message, otherwise=self.Kept(-1, False))
        for note in event.saved.notes:
            self.notify(f"Saved, but {note}.", severity="warning", markup=False)
        self.told_of_file()
        self._status.state = f"saved {visible_line(self._file.path.name)}"
        if event.then is not None:
            event.then()
        if self._leaving is not None and not self._under_way:
            leaving, self._leaving = self._leaving, None
            self.leave_then(leaving)

    def _rebase(self) -> Message:
        self._keeper.rebase(self._file)
        return self.Kept(-1, False)

    @on(Failed)
    def show_failed_file(self, event: Failed) -> None:
        """Nothing was lost; say what can be done."""
        self._show_error(event.error)

    @on(Conflicted)
    def ask_about_change(self, event: Conflicted) -> None:
        """Two texts want to be in one file."""
        name, change = visible_line(self._file.path.name), event.change
        before = told(change.before) if change.before else "it was not there"
        now = told(change.now) if change.now else "it is gone"
        details = [
            f"{name} was changed by another program while you wrote.",
            f"as opened    {before}",
            f"on disk now  {now}",
        ]
        choices = [
            Choice("o", "Overwrite", "put your text in its place"),
            Choice("n", "Save as", "keep both: your text goes into another file"),
            Choice("c", "Cancel", "go on writing; nothing is saved"),
        ]
        if change.kind == "changed":
            reload = Choice("r", "Reload", "take the file's text; Ctrl+Z has yours")
            choices.insert(2, reload)
        self.app.push_screen(
            Ask("The file has changed on disk", details, choices, harmless="c"),
            partial(self._answer_change, event.then),
        )

    def _answer_change(self, then: Then | None, answer: str | None) -> None:
        if answer == "o":
            self._store(then=then, sure=True)
        elif answer == "n":
            self._saving = then
            self._ask_name()
        elif answer == "r":
            self._reload()

    def _reload(self) -> None:
        path = self._file.path

        def work() -> Message:
            try:
                return self.Reloaded(load(path))
            except LmtuiError as error:
                return self.Failed(error)

        bug = LmtuiError("the file can't be read", str(path), "See the log.")
        self._ask_disk(work, otherwise=bug)

    @on(Reloaded)
    def show_reloaded(self, event: Reloaded) -> None:
        """The file's text is here, and what was written is one undo away."""
        cursor = self.editor.cursor_index
        self._file = event.file
        self._keeper.rebase(self._file)
        self.editor.replace_span(0, self.editor.characters, self._file.text)
        self.editor.go_to(min(cursor, self.editor.characters))
        self.told_of_file()

    # Another name.

    def action_save_as(self) -> None:
        """Ask for a name."""
        self._saving = None
        self._ask_name()

    def _ask_name(self) -> None:
        self.query_one(LinePrompt).ask_path(str(self._file.path))

    def take_name(self, name: str) -> None:
        """A name was given."""
        path = path_named(name) or self._file.path
        then, self._saving = self._saving, None
        if path == self._file.path:
            self._store(then=then)
        else:
            self._store(path, then=then)

    @on(Occupied)
    def ask_about_file(self, event: Occupied) -> None:
        """There is a file of that name."""
        details = [visible_line(str(event.path))]
        choices = [
            Choice("o", "Overwrite", "put your text in its place"),
            Choice("n", "Another name", "choose again"),
            Choice("c", "Cancel", "go on writing; nothing is saved"),
        ]
        self.app.push_screen(
            Ask("There is a file of that name", details, choices, harmless="c"),
            partial(self._answer_occupied, event),
        )

    def _answer_occupied(self, event: Occupied, answer: str | None) -> None:
        if answer == "o":
            self._store(event.path, then=event.then, sure=True)
        elif answer == "n":
            self._saving = event.then
            self._ask_name()

    # Leaving.

    def leave_then(self, then: Then) -> None:
        """Do something that ends the editing, once unsaved text is seen to."""
        if self._under_way and self._leaving is None:
            self._leaving = then  # whoever asks again need not wait for a slow disk
            self._status.state = "saving"
            return
        if not self.unsaved:
            then()
            return
        choices = [
            Choice("s", "Save", "write it into the file, and leave"),
            Choice("d", "Discard", "leave; what was written since is gone"),
            Choice("c", "Cancel", "go on writing"),
        ]
        details = [f"{visible_line(self._file.path.name)} has unsaved changes."]
        self.app.push_screen(
            Ask("Leave without saving?", details, choices, harmless="c"),
            partial(self._answer_leave, then),
        )

    def _answer_leave(self, then: Then, answer: str | None) -> None:
        if answer == "s":
            self.save_then(then)
        elif answer == "d":
            self._discarded = True
            self._keeper.close()
            then()
