"""The editor's file: opening, saving, reloading, leaving, and its recovery copy.

Disks are waited for on another thread, nothing is overwritten unasked, and unsaved text
is found again however the program ends. Knows no model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from lmtui import state
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
from lmtui.engine.text.text_diff import changed
from lmtui.errors import LmtuiError
from lmtui.tui.background import run_in_thread
from lmtui.tui.controller import Controller
from lmtui.tui.dialogs import PageScreen, ask
from lmtui.tui.editor.document import language_for
from lmtui.tui.editor.file_dialogs import (
    about_change,
    about_existing,
    about_recovered,
    about_unsaved,
    diff_page,
)
from lmtui.tui.editor.options import Writing
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.screen import ModelScreen
from lmtui.tui.widgets.line_prompt import LinePrompt

WATCH_EVERY = 2.0
"""Seconds between two looks at whether another program has changed the file."""
_RECOVERY_EVERY = 0.5  # seconds between two looks at whether the copy is up to date

Then = Callable[[], object]
"""Called once the text is safe."""

T = TypeVar("T")


class FileController(Controller):
    def __init__(
        self,
        screen: ModelScreen,
        editor: GhostEditor,
        prompt: LinePrompt,
        writing: Writing,
        *,
        opened: Callable[[], object],
        changed: Callable[[], object],
    ) -> None:
        """`opened` is called when another text is in the editor, `changed` when the
        file is another one, or its state has changed; `prompt` asks for names, and
        `save_under` and `open_named` take them."""
        self._screen, self._editor, self._prompt = screen, editor, prompt
        self._writing, self._on_opened, self._on_changed = writing, opened, changed
        self.current: TextFile = writing.file
        """The file as it was read or written last."""
        self.is_open = False
        """Whether its text is in the editor."""
        self.left: TextFile | LmtuiError | None = None
        """The file whose unsaved text was saved in a recovery copy at the end, or the
        error why it was not."""
        self._copy = RecoveryCopy(writing.file)
        self._copied_revision: int | None = None  # revision of the text in the copy
        self._copy_failed = self._discarded = False
        self._after_save_as: Then | None = None  # what follows saving under a new name
        self._pending_leave: Then | None = None  # once what is being saved is safe
        self._pending_requests = 0  # requests to the disk whose end has to be seen
        self.known_change: FileChange | None = None
        """The change by another program that the user was told of."""
        self._watching = False

    @property
    def unsaved(self) -> bool:
        """Whether there is text that is not in the file and was not discarded."""
        if not self.is_open or self._discarded:
            return False
        return self._editor.text != self.current.saved_text

    def start(self) -> None:
        self._show(self._writing.cursor)
        self.is_open = True
        self._screen.set_interval(_RECOVERY_EVERY, self._update_copy)
        self._screen.set_interval(WATCH_EVERY, self._watch)
        self._offer_recovered(self._writing.recovered)

    def _show(self, cursor: int) -> None:
        self._editor.load(self.current.text, language_for(self.current.path))
        self._editor.go_to(cursor)
        if self.current.read_only:
            notice = f"{self.current.name} is read-only; Ctrl+S asks for another name."
            self._screen.notify(notice, severity="warning")
        self._on_changed()

    def close(self) -> None:
        """Save unsaved text in the recovery copy: the program ends."""
        if not self.unsaved:
            self._copy.close()
            return
        try:
            file, editor = self.current, self._editor
            recovery.write(file.path, file.digest, editor.text, editor.cursor_index)
        except LmtuiError as error:
            self.left = error
        else:
            self.left = self.current

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
            then,
            failed=failed,
            bug=bug,
            about=str(self.current.path),
        )

    def _run_request(
        self, work: Callable[[], T], then: Callable[[T], object], bug: str
    ) -> None:
        """Do what the user asked for; leaving waits until its end was seen."""
        self._pending_requests += 1

        def end(value: T) -> None:
            self._pending_requests -= 1
            if not isinstance(value, SaveResult):
                self._pending_leave = None
            then(value)

        def fail(error: LmtuiError) -> None:
            self._pending_requests -= 1
            self._pending_leave = None
            if error.title != bug:  # first of all, what was not done
                error = LmtuiError(bug, str(error), error.hint)
            self._screen.show_error(error)

        self._in_thread(work, end, fail, bug)

    # The recovery copy.

    def _update_copy(self) -> None:
        revision = self._editor.revision
        if revision == self._copied_revision or self._discarded:
            return
        text, cursor, copy = self._editor.text, self._editor.cursor_index, self._copy

        def end(done: bool) -> None:
            if done and copy is self._copy:
                self._copied_revision, self._copy_failed = revision, False

        self._in_thread(
            lambda: copy.note(text, time.monotonic(), cursor),
            end,
            self._show_copy_failed,
            "the recovery copy can't be written",
        )

    def _drop_copy(self, copy: RecoveryCopy) -> None:
        """Remove the recovery copy of the text that the file has now. What was typed
        meanwhile is copied anew."""
        file = self.current

        def end(_: object) -> None:
            self._copied_revision = None

        self._in_thread(
            lambda: copy.rebase(file), end, end, "the recovery copy can't be removed"
        )

    def _show_copy_failed(self, error: LmtuiError) -> None:
        """Show the error once; writing the copy is tried again."""
        if not self._copy_failed:
            self._copy_failed = True
            self._screen.show_error(error)

    def _offer_recovered(self, recovered: Recovered | None) -> None:
        if recovered is not None:
            ask(
                self._screen,
                about_recovered(self.current, recovered),
                v=partial(self._show_recovered, recovered),
                r=partial(self._recover, recovered),
                d=partial(self._in_background, partial(recovery.discard, recovered)),
            )

    def _show_recovered(self, recovered: Recovered) -> None:
        file = self.current
        page = diff_page(file, file.text, recovered.text, whose="recovered")
        offer_again = partial(self._offer_recovered, recovered)
        self._screen.app.push_screen(page, lambda _: offer_again())

    def _recover(self, recovered: Recovered) -> None:
        """Show the recovered text, and in it what was typed since the file was
        opened."""
        editor = self._editor
        start, _, stop = changed(self.current.text, editor.text)
        typed = editor.text[start:stop]
        offset = min(recovered.cursor, len(recovered.text))
        text = recovered.text[:offset] + typed + recovered.text[offset:]
        cursor = offset + len(typed)
        editor.replace_span(0, editor.characters, text)
        editor.go_to(cursor)
        revision = editor.revision

        def work() -> None:
            # The text is in this program's own copy before the other goes.
            self._copy.write_at_once(text, cursor)
            recovery.discard(recovered)

        def end(_: None) -> None:
            self._copied_revision = revision

        bug = "the recovery copy can't be written"
        self._in_thread(work, end, self._show_copy_failed, bug)

    # Changes by other programs.

    def _watch(self) -> None:
        if self._watching or self._pending_requests:
            return
        self._watching, file = True, self.current

        def end(change: FileChange | None) -> None:
            self._watching = False
            if file is self.current and change != self.known_change:
                self.known_change = change
                self._on_changed()
                self._notify_change()

        def failed(_: LmtuiError) -> None:
            self._watching = False

        bug = "the file can't be watched"
        self._in_thread(lambda: changed_on_disk(file), end, failed, bug)

    def _notify_change(self) -> None:
        if self.known_change is None:
            return
        is_deleted = self.known_change.kind == "gone"
        event = "was deleted" if is_deleted else "has changed on disk"
        edited = "overwrite it" if self.unsaved else "reload it"
        action = "write it again" if is_deleted else edited
        self._screen.notify(
            f"{self.current.name} {event}; Ctrl+S asks whether to {action}."
        )

    def _set_file(self, file: TextFile) -> None:
        self.current, self.known_change = file, None

    # Saving.

    def save(self, then: Then | None = None) -> None:
        """Save into the file, or ask for a name where it has none or can't be written
        to; do something afterwards."""
        if not self.current.is_named:
            self.save_as(then)
        elif self.current.read_only:
            self._screen.notify(
                "The file is read-only; save the text under another name."
            )
            self.save_as(then)
        else:
            self._save(then=then)

    def save_as(self, then: Then | None = None) -> None:
        self._after_save_as = then
        current = self.current
        self._prompt.ask_path(str(current.path) if current.is_named else "")

    def save_under(self, name: str) -> None:
        current = self.current
        path = path_named(name) or current.path
        then, self._after_save_as = self._after_save_as, None
        is_same = path == current.path and current.is_named and not current.read_only
        self._save(None if is_same else path, then=then)

    def _save(
        self,
        path: Path | None = None,
        *,
        then: Then | None = None,
        overwrite: bool = False,
    ) -> None:
        file, editor, copy = self.current, self._editor, self._copy
        if file.is_named and not file.text:
            editor.end_last_line()
        text, cursor = editor.text, editor.cursor_index
        revision = editor.revision

        def work() -> SaveResult | FileChange | Path:
            if not overwrite and path is None and (change := changed_on_disk(file)):
                return change
            if not overwrite and path is not None and path.exists():
                return path
            return save(file, text, path, keep=lambda: copy.write_at_once(text, cursor))

        def end(result: SaveResult | FileChange | Path) -> None:
            # Whoever writes on meanwhile does not mean the dialog by a letter.
            asked = editor.revision == revision
            match result:
                case SaveResult():
                    self._finish_save(result, then)
                case FileChange():
                    self._ask_about_change(result, then, asked)
                case _:
                    self._ask_about_existing(result, then, asked)

        self._run_request(work, end, "the file was not saved")

    def _finish_save(self, saved: SaveResult, then: Then | None) -> None:
        old_copy = self._copy
        if saved.file.path != self.current.path or not self.current.is_named:
            self._copy = RecoveryCopy(saved.file)
        self._set_file(saved.file)
        self._drop_copy(old_copy)
        if saved.note:
            words = f"Saved, but {saved.note}."
            self._screen.notify(words, severity="warning")
        self._on_changed()
        self._screen.activity.notice(f"saved {self.current.name}")
        if then is not None:
            then()
        if self._pending_leave is not None and not self._pending_requests:
            leaving, self._pending_leave = self._pending_leave, None
            self.leave_then(leaving)

    def _ask_about_change(
        self, change: FileChange, then: Then | None, asked: bool = True
    ) -> None:
        ask(
            self._screen,
            about_change(self.current, change, asked=asked),
            o=partial(self._save, then=then, overwrite=True),
            n=partial(self.save_as, then),
            r=self._reload,
            v=partial(self._show_diff, change, then),
        )

    def _show_diff(self, change: FileChange, then: Then | None) -> None:
        file, text = self.current, self._editor.text

        def work() -> tuple[PageScreen, FileChange]:
            page = diff_page(file, load(file.path).text, text)
            return page, changed_on_disk(file) or change

        def show(result: tuple[PageScreen, FileChange]) -> None:
            page, latest = result
            ask_again = partial(self._ask_about_change, latest, then)
            self._screen.app.push_screen(page, lambda _: ask_again())

        self._run_request(work, show, "the file can't be compared")

    def _ask_about_existing(self, path: Path, then: Then | None, asked: bool) -> None:
        ask(
            self._screen,
            about_existing(path, asked=asked),
            o=partial(self._save, path, then=then, overwrite=True),
            n=partial(self.save_as, then),
        )

    def _reload(self) -> None:
        path = self.current.path
        self._run_request(
            lambda: load(path), self._show_reloaded, "the file can't be read"
        )

    def _show_reloaded(self, file: TextFile) -> None:
        """Show the file's text; undo restores the text before it."""
        editor = self._editor
        cursor = editor.cursor_index
        read_only = file.read_only or self.current.read_only
        self._set_file(replace(file, read_only=read_only))
        self._drop_copy(self._copy)
        editor.replace_span(0, editor.characters, file.text)
        editor.go_to(min(cursor, editor.characters))
        self._on_changed()

    # Another file.

    def open_other(self) -> None:
        self._prompt.ask_open(lambda: [str(path) for path in state.recent_files()])

    def open_named(self, name: str) -> None:
        path = path_named(name)
        if path is None:
            return

        if path == self.current.path and self.current.is_named:
            self._screen.activity.notice(f"{self.current.name} is open already")
            return

        def end(opened: tuple[TextFile, Recovered | None]) -> None:
            self.leave_then(partial(self._switch_to, *opened))

        bug = "the file can't be opened"
        self._run_request(lambda: (load(path), recovery.find(path)), end, bug)

    def _switch_to(self, file: TextFile, recovered: Recovered | None) -> None:
        copy, self._copy = self._copy, RecoveryCopy(file)
        self._copied_revision, self._copy_failed, self._discarded = None, False, False
        self._set_file(file)
        self._show(0)
        self._on_opened()
        self._screen.activity.notice(f"opened {self.current.name}")

        def work() -> None:
            copy.close()
            if not file.is_new:
                state.remember([str(file.path)])

        self._in_background(work)
        self._offer_recovered(recovered)

    def _in_background(self, work: Callable[[], object]) -> None:
        bug = "the state of the file can't be written"
        self._in_thread(work, lambda _: None, self._screen.show_error, bug)

    # Leaving.

    def leave_then(self, then: Then) -> None:
        """Do something that ends the editing, once unsaved text is seen to."""
        if self._pending_requests and self._pending_leave is None:
            # Whoever asks again need not wait for a slow disk.
            self._pending_leave = then
            self._screen.activity.notice("saving")
            return
        if not self.unsaved:
            then()
            return

        def answer(key: str | None) -> None:
            self._pending_leave = None
            if key == "s":
                self.save(then)
            elif key == "n":
                self.save_as(then)
            elif key == "d":
                self._discarded = True
                then()

        self._screen.app.push_screen(about_unsaved(self.current), answer)
