"""The editor's file: saving it, under its name or another, and reloading it.

Disks are waited for on another thread, and nothing is overwritten unasked. Knows no
model.
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

from lmtui.editing.file_names import path_named
from lmtui.editing.recovery import RecoveryCopy
from lmtui.editing.text_file import (
    FileChange,
    SaveResult,
    TextFile,
    changed_on_disk,
    load,
    save,
)
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.background import run_in_thread
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.editor.keeping import KeepingScreen, told
from lmtui.tui.editor.options import Writing
from lmtui.tui.engine.client import EngineClient
from lmtui.tui.engine.messages import Post
from lmtui.tui.widgets.line_prompt import LinePrompt

WATCH_EVERY = 2.0
"""Seconds between two looks at whether another program has changed the file."""

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

        saved: SaveResult
        then: Then | None

    @dataclass
    class Conflicted(Message):
        """The file on the disk has changed meanwhile."""

        change: FileChange
        then: Then | None

    @dataclass
    class Watched(Message):
        """Change of a file since it was read or written, if any."""

        file: TextFile
        change: FileChange | None

    @dataclass
    class Occupied(Message):
        """The file to save to exists already."""

        path: Path
        then: Then | None

    @dataclass
    class Failed(Message):
        """Error of a file operation; the text is as it was."""

        error: LmtuiError

    @dataclass
    class Reloaded(Message):
        """The file was read again."""

        file: TextFile

    def __init__(
        self, make_client: Callable[[Post], EngineClient], writing: Writing
    ) -> None:
        super().__init__(make_client, writing)
        self._saving: Then | None = None
        self._leaving: Then | None = None  # once what is being saved is safe
        self._under_way = 0  # questions to the disk
        self._change: FileChange | None = None  # that the user was told of
        self._looking = False  # at whether there is one

    def on_mount(self) -> None:
        """Notice what other programs do to the file."""
        self.set_interval(WATCH_EVERY, self._watch_file)

    def _ask_disk(self, work: Callable[[], Message], *, otherwise: LmtuiError) -> None:
        self._under_way += 1
        run_in_thread(work, self.post_message, otherwise=self.Failed(otherwise))

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

    # Changes by others.

    @property
    def changed_elsewhere(self) -> bool:
        """Whether what is on the disk is neither what was read nor what was saved."""
        return self._change is not None

    def _watch_file(self) -> None:
        if self._looking or self._under_way:
            return
        self._looking, file = True, self._file

        def work() -> Message:
            return self.Watched(file, changed_on_disk(file))

        run_in_thread(work, self.post_message, otherwise=self.Watched(file, None))

    @on(Watched)
    def tell_change(self, event: Watched) -> None:
        self._looking = False
        if event.file is not self._file or event.change == self._change:
            return
        self._change = event.change
        self.told_of_file()
        if event.change is None:
            return
        name, gone = visible_line(self._file.path.name), event.change.kind == "gone"
        what = "is no longer on disk" if gone else "has changed on disk"
        does = "write it again" if gone or self.unsaved else "reload it"
        self.notify(f"{name} {what}; Ctrl+S asks whether to {does}.", markup=False)

    def _take_file(self, file: TextFile) -> None:
        """The file as it is on the disk now."""
        self._file, self._change = file, None

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
        moved = event.saved.file.path != self._file.path
        if moved:
            self._keeper.close()
            self._keeper = RecoveryCopy(event.saved.file)
        self._take_file(event.saved.file)
        run_in_thread(self._rebase, self.post_message, otherwise=self.Kept(-1, False))
        for note in event.saved.notes:
            self.notify(f"Saved, but {note}.", severity="warning", markup=False)
        self.told_of_file()
        self.say(f"saved {visible_line(self._file.path.name)}")
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
        self._show_error(event.error)

    @on(Conflicted)
    def ask_about_change(self, event: Conflicted) -> None:
        """Ask what to do: the file and the editor's text have both changed."""
        name, change = visible_line(self._file.path.name), event.change
        before = told(change.before) if change.before else "it was not there"
        now = told(change.now) if change.now else "it is gone"
        details = [
            f"{name} was changed by another program.",
            f"as opened    {before}",
            f"on disk now  {now}",
        ]
        choices = [
            Choice("o", "Overwrite", "replace the file with your text"),
            Choice("n", "Save as", "save your text in another file; keep both"),
            Choice("c", "Cancel", "keep editing; nothing is saved"),
        ]
        if change.kind == "changed":
            reload = Choice("r", "Reload", "load the file; Ctrl+Z restores your text")
            choices.insert(2, reload)
        self.app.push_screen(
            ConfirmDialog(
                "The file has changed on disk", details, choices, harmless="c"
            ),
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
        """Show the file's text; the text before it can be had back by undo."""
        cursor = self.editor.cursor_index
        self._take_file(event.file)
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
        path = path_named(name) or self._file.path
        then, self._saving = self._saving, None
        if path == self._file.path:
            self._store(then=then)
        else:
            self._store(path, then=then)

    @on(Occupied)
    def ask_about_file(self, event: Occupied) -> None:
        details = [visible_line(str(event.path))]
        choices = [
            Choice("o", "Overwrite", "replace that file with your text"),
            Choice("n", "Other name", "choose a different name"),
            Choice("c", "Cancel", "keep editing; nothing is saved"),
        ]
        self.app.push_screen(
            ConfirmDialog("The file already exists", details, choices, harmless="c"),
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
            self.say("saving")
            return
        if not self.unsaved:
            then()
            return
        choices = [
            Choice("s", "Save", "save the file and leave"),
            Choice("d", "Discard", "leave without saving; the changes are lost"),
            Choice("c", "Cancel", "keep editing"),
        ]
        details = [f"{visible_line(self._file.path.name)} has unsaved changes."]
        self.app.push_screen(
            ConfirmDialog("Leave without saving?", details, choices, harmless="c"),
            partial(self._answer_leave, then),
        )

    def _answer_leave(self, then: Then, answer: str | None) -> None:
        if answer == "s":
            self.save_then(then)
        elif answer == "d":
            self._discarded = True
            self._keeper.close()
            then()
