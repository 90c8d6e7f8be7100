"""The editor's file: opening, saving, reloading, leaving, and its recovery copy.

Disks are waited for on another thread, nothing is overwritten unasked, and unsaved text
is found again however the program ends. Knows no model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from lmtui.editing import recovery
from lmtui.editing.file_names import path_named
from lmtui.editing.recovery import Recovered, RecoveryCopy
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
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import Choice, ConfirmDialog
from lmtui.tui.editor.document import language_for
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.line_prompt import LinePrompt

WATCH_EVERY = 2.0
"""Seconds between two looks at whether another program has changed the file."""
_RECOVERY_EVERY = 0.5  # seconds between two looks at whether the copy is up to date

Then = Callable[[], object]
"""What is done once the text is safe."""

T = TypeVar("T")


class FileController(Controller):
    """The file that a text is edited in."""

    def __init__(
        self,
        screen: ModelScreen,
        editor: GhostEditor,
        prompt: LinePrompt,
        writing: Writing,
        *,
        changed: Callable[[], object],
    ) -> None:
        """`changed` is called when the file is another one, or its state has changed;
        `prompt` asks for names, and `take_name` takes them."""
        self._screen, self._editor, self._prompt = screen, editor, prompt
        self._writing, self._changed = writing, changed
        self.current: TextFile = writing.file
        """The file as it was read or written last."""
        self.is_open = False
        """Whether its text is in the editor."""
        self.left: Path | LmtuiError | None = None
        """The file whose unsaved text was saved in a recovery copy at the end, or the
        error why it was not."""
        self._copy = RecoveryCopy(writing.file)
        self._copied: int | None = None  # revision of the text in the copy
        self._copy_failed = self._discarded = False
        self._after_name: Then | None = None  # what follows saving under a new name
        self._leaving: Then | None = None  # once what is being saved is safe
        self._under_way = 0  # requests to the disk whose end has to be seen
        self._change: FileChange | None = None  # that the user was told of
        self._watching = False

    @property
    def unsaved(self) -> bool:
        """Whether there is text that is not in the file and was not discarded."""
        if not self.is_open or self._discarded:
            return False
        return self._editor.text != self.current.text

    @property
    def changed_elsewhere(self) -> bool:
        """Whether what is on the disk is neither what was read nor what was saved."""
        return self._change is not None

    @property
    def name(self) -> str:
        """Its name, safe to draw."""
        return visible_line(self.current.path.name)

    def start(self) -> None:
        """Open the text, and offer the recovery copy of a program that was killed."""
        self._editor.load(self.current.text, language_for(self.current.path))
        self._editor.go_to(self._writing.cursor)
        self.is_open = True
        self._changed()
        self._screen.set_interval(_RECOVERY_EVERY, self._update_copy)
        self._screen.set_interval(WATCH_EVERY, self._watch)
        if self._writing.recovered is not None:
            self._screen.call_after_refresh(
                self._offer_recovered, self._writing.recovered
            )

    def close(self) -> None:
        """Save unsaved text in the recovery copy: the program ends."""
        if not self.unsaved:
            self._copy.close()
            return
        try:
            recovery.write(self.current.path, self.current.digest, self._editor.text)
        except LmtuiError as error:
            self.left = error
        else:
            self.left = self.current.path

    def _in_thread(
        self,
        work: Callable[[], T],
        then: Callable[[T], object],
        failed: Callable[[LmtuiError], object],
        bug: str,
    ) -> None:
        run_in_thread(
            work,
            self._screen.call_later,
            then=then,
            failed=failed,
            bug=LmtuiError(bug, str(self.current.path), "See the log."),
        )

    def _ask_disk(
        self, work: Callable[[], T], then: Callable[[T], object], bug: str
    ) -> None:
        """Do what the user asked for; leaving waits until its end was seen."""
        self._under_way += 1

        def end(value: T) -> None:
            self._under_way -= 1
            if not isinstance(value, SaveResult):
                self._leaving = None
            then(value)

        def fail(error: LmtuiError) -> None:
            self._under_way -= 1
            self._leaving = None
            self._screen.show_error(error)

        self._in_thread(work, end, fail, bug)

    # The recovery copy.

    def _update_copy(self) -> None:
        revision = self._editor.revision
        if revision == self._copied or self._discarded:
            return
        text, copy = self._editor.text, self._copy

        def end(done: bool) -> None:
            if done and copy is self._copy:
                self._copied, self._copy_failed = revision, False

        self._in_thread(
            lambda: copy.note(text, time.monotonic()),
            end,
            self._show_copy_failed,
            "the recovery copy can't be written",
        )

    def _drop_copy(self, copy: RecoveryCopy) -> None:
        """Remove the recovery copy of the text that the file has now. What was typed
        meanwhile is copied anew."""
        file = self.current

        def end(_: object) -> None:
            self._copied = None

        self._in_thread(
            lambda: copy.rebase(file), end, end, "the recovery copy can't be removed"
        )

    def _show_copy_failed(self, error: LmtuiError) -> None:
        """Show the error once; writing the copy is tried again."""
        if not self._copy_failed:
            self._copy_failed = True
            self._screen.show_error(error)

    def _offer_recovered(self, recovered: Recovered) -> None:
        if recovered.open_elsewhere:
            self._screen.notify(
                f"{self.name} is open in another editor (process {recovered.pid}) with "
                "text that is not saved there.",
                severity="warning",
                markup=False,
            )
            return
        stamp = self.current.stamp
        details = [
            f"{self.name} was edited and not saved before the program ended.",
            f"kept    {time_words(recovered.time)}",
            f"file    {time_words(stamp.modified) if stamp else 'is not on disk'}",
        ]
        if recovered.base != self.current.digest:
            details.append("The file has changed since that text was begun.")
        choices = [
            Choice("r", "Recover", "open the recovered text"),
            Choice("d", "Discard", "open the file; delete the recovered text"),
            Choice("l", "Later", "open the file; ask again next time"),
        ]
        self._ask(
            ConfirmDialog("There is unsaved text", details, choices, harmless="l"),
            partial(self._answer_recovered, recovered),
        )

    def _answer_recovered(self, recovered: Recovered, answer: str | None) -> None:
        editor = self._editor
        if answer == "r":
            editor.replace_span(0, editor.characters, recovered.text)
            editor.go_to(0)
        if answer not in ("r", "d"):
            return
        revision, text = editor.revision, editor.text

        def work() -> bool:
            # The recovered text is in this program's own copy before the other goes.
            done = self._copy.note(text, time.monotonic())
            if done:
                recovery.discard(recovered)
            return done

        def end(done: bool) -> None:
            if done:
                self._copied = revision

        bug = "the recovery copy can't be written"
        self._in_thread(work, end, self._show_copy_failed, bug)

    def _ask(self, dialog: ConfirmDialog, answer: Callable[[str | None], None]) -> None:
        self._screen.app.push_screen(dialog, answer)

    # Changes by other programs.

    def _watch(self) -> None:
        if self._watching or self._under_way:
            return
        self._watching, file = True, self.current

        def end(change: FileChange | None) -> None:
            self._watching = False
            if file is self.current and change != self._change:
                self._change = change
                self._changed()
                self._tell_change()

        def failed(_: LmtuiError) -> None:
            self._watching = False

        bug = "the file can't be watched"
        self._in_thread(lambda: changed_on_disk(file), end, failed, bug)

    def _tell_change(self) -> None:
        if self._change is None:
            return
        gone = self._change.kind == "gone"
        what = "is no longer on disk" if gone else "has changed on disk"
        edited = "overwrite it" if self.unsaved else "reload it"
        does = "write it again" if gone else edited
        self._screen.notify(
            f"{self.name} {what}; Ctrl+S asks whether to {does}.", markup=False
        )

    def _take(self, file: TextFile) -> None:
        """Take the file as it is on the disk now."""
        self.current, self._change = file, None

    # Saving.

    def save(self, then: Then | None = None) -> None:
        """Save into the file, or ask for another name where it can't be written to; do
        something afterwards."""
        if self.current.read_only:
            self._screen.notify(
                "The file is read-only; save the text under another name."
            )
            self.save_as(then)
        else:
            self._save(then=then)

    def save_as(self, then: Then | None = None) -> None:
        """Ask for a name to save under, which is the file from then on."""
        self._after_name = then
        self._prompt.ask_path(str(self.current.path))

    def take_name(self, name: str) -> None:
        """Save under the name that was asked for."""
        path = path_named(name) or self.current.path
        then, self._after_name = self._after_name, None
        self._save(None if path == self.current.path else path, then=then)

    def _save(
        self,
        path: Path | None = None,
        *,
        then: Then | None = None,
        overwrite: bool = False,
    ) -> None:
        file, text = self.current, self._editor.text

        def work() -> SaveResult | FileChange | Path:
            if not overwrite and path is None and (change := changed_on_disk(file)):
                return change
            if not overwrite and path is not None and path.exists():
                return path
            return save(file, text, path)

        def end(result: SaveResult | FileChange | Path) -> None:
            match result:
                case SaveResult():
                    self._saved(result, then)
                case FileChange():
                    self._ask_about_change(result, then)
                case _:
                    self._ask_about_existing(result, then)

        self._ask_disk(work, end, "the file was not saved")

    def _saved(self, saved: SaveResult, then: Then | None) -> None:
        before = self._copy
        if saved.file.path != self.current.path:
            self._copy = RecoveryCopy(saved.file)
        self._take(saved.file)
        self._drop_copy(before)
        for note in saved.notes:
            self._screen.notify(f"Saved, but {note}.", severity="warning", markup=False)
        self._changed()
        self._screen.activity.say(f"saved {self.name}")
        if then is not None:
            then()
        if self._leaving is not None and not self._under_way:
            leaving, self._leaving = self._leaving, None
            self.leave_then(leaving)

    def _ask_about_change(self, change: FileChange, then: Then | None) -> None:
        """Ask what to do: the file and the editor's text have both changed."""
        before = time_words(change.before) if change.before else "it was not there"
        now = time_words(change.now) if change.now else "it is gone"
        details = [
            f"{self.name} was changed by another program.",
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

        def answer(key: str | None) -> None:
            if key == "o":
                self._save(then=then, overwrite=True)
            elif key == "n":
                self.save_as(then)
            elif key == "r":
                self._reload()

        title = "The file has changed on disk"
        self._ask(ConfirmDialog(title, details, choices, harmless="c"), answer)

    def _ask_about_existing(self, path: Path, then: Then | None) -> None:
        choices = [
            Choice("o", "Overwrite", "replace that file with your text"),
            Choice("n", "Other name", "choose a different name"),
            Choice("c", "Cancel", "keep editing; nothing is saved"),
        ]

        def answer(key: str | None) -> None:
            if key == "o":
                self._save(path, then=then, overwrite=True)
            elif key == "n":
                self.save_as(then)

        title, details = "The file already exists", [visible_line(str(path))]
        self._ask(ConfirmDialog(title, details, choices, harmless="c"), answer)

    def _reload(self) -> None:
        path = self.current.path
        self._ask_disk(lambda: load(path), self._reloaded, "the file can't be read")

    def _reloaded(self, file: TextFile) -> None:
        """Show the file's text; undo restores the text before it."""
        editor = self._editor
        cursor = editor.cursor_index
        self._take(file)
        self._drop_copy(self._copy)
        editor.replace_span(0, editor.characters, file.text)
        editor.go_to(min(cursor, editor.characters))
        self._changed()

    # Leaving.

    def leave_then(self, then: Then) -> None:
        """Do something that ends the editing, once unsaved text is seen to."""
        if self._under_way and self._leaving is None:
            self._leaving = then  # whoever asks again need not wait for a slow disk
            self._screen.activity.say("saving")
            return
        if not self.unsaved:
            then()
            return
        choices = [
            Choice("s", "Save", "save the file and leave"),
            Choice("d", "Discard", "leave without saving; the changes are lost"),
            Choice("c", "Cancel", "keep editing"),
        ]

        def answer(key: str | None) -> None:
            self._leaving = None
            if key == "s":
                self.save(then)
            elif key == "d":
                self._discarded = True
                self._copy.close()
                then()

        title, details = "Leave without saving?", [f"{self.name} has unsaved changes."]
        self._ask(ConfirmDialog(title, details, choices, harmless="c"), answer)


def time_words(seconds: float) -> str:
    """Format a time, in seconds since the epoch, as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
