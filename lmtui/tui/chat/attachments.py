"""Attached files in the chat: completion of names after @, and the list of files.

The disk is read outside the event loop; results for an older draft are dropped. The
draft is given to the widget, and messages report names and files. Knows neither the
prompt nor the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from lmtui.chat.attachments import (
    Attachment,
    Mention,
    attach,
    completions,
    mention_at,
    mentions,
    written,
)
from lmtui.errors import LmtuiError
from lmtui.tui.background import run_in_thread
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.plain_text import PlainLine, plain_line

LIST_KEYS = {"up": "cursor_up", "down": "cursor_down"}
"""Keys that move in the list from the prompt, and the list's actions."""


class Attachments(Vertical):
    """The list of completions and the line of attached files; hidden without an @."""

    HELP = """\
@ and a file name attach the file; it is quoted in full below the message: @notes.md, or
@"two words.md". Up and Down choose a name, Tab or Enter takes it, Esc closes the list.
@@ is an @ that names no file.
"""
    DEFAULT_CSS = """
    Attachments {
        height: auto;
        #names { display: none; max-height: 8; padding: 0 1; background: $surface; }
        #files {
            display: none;
            height: 1;
            padding: 0 2;
            color: $quiet;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        #files.-wrong { color: $error; }
        &.-naming #names { display: block; }
        &.-listed #files { display: block; }
    }
    """

    @dataclass
    class NameChosen(Message):
        """A name was chosen; `text` replaces the draft from `start` to `end` (code
        points)."""

        start: int
        end: int
        text: str

    @dataclass
    class FilesRead(Message):
        """The files in the draft were read; empty if one could not be."""

        files: tuple[Attachment, ...]

    def __init__(self, *, folder: Path = Path(), id: str | None = None) -> None:
        super().__init__(id=id)
        self.folder = folder
        """The folder that relative names start from."""
        self._mention: Mention | None = None
        self._dismissed_at: int | None = None  # start of the @ whose list was closed
        self._mentioned: tuple[str, ...] = ()
        self._files: tuple[Attachment, ...] = ()

    def compose(self) -> ComposeResult:
        names = DialogList(id="names")
        names.can_focus = False
        yield names
        yield PlainLine(id="files")

    @property
    def is_open(self) -> bool:
        return self.has_class("-naming")

    @property
    def _names(self) -> DialogList:
        return self.query_one(DialogList)

    def follow(self, draft: str, cursor: int) -> None:
        self._complete_mention(mention_at(draft, cursor))
        typed_at = self._mention.start if self._mention else None
        paths = tuple(m.path for m in mentions(draft) if m.start != typed_at)
        if paths != self._mentioned:
            self._mentioned = paths
            self._read_files(paths)

    # Completion of names.

    def _complete_mention(self, mention: Mention | None) -> None:
        if mention == self._mention:
            return
        self._mention = mention
        if mention is None or mention.start != self._dismissed_at:
            self._dismissed_at = None
        if mention is None or self._dismissed_at is not None:
            self._close()
            return

        run_in_thread(
            lambda: completions(mention.path, self.folder),
            self.call_later,
            partial(self._show_completions, mention),
            failed=lambda _: self._show_completions(mention, ()),
        )

    def _show_completions(self, mention: Mention, paths: tuple[str, ...]) -> None:
        if mention != self._mention or self._dismissed_at is not None:
            return  # the name has changed meanwhile
        names = self._names
        names.clear_options()
        names.add_options(Option(_path_row(path), id=path) for path in paths)
        names.highlighted = 0 if paths else None
        self.set_class(paths not in ((), (mention.path,)), "-naming")

    def use_key(self, key: str) -> bool:
        """Handle a key while names are listed; return whether it was used. The widget
        with the focus calls this first."""
        if not self.is_open:
            return False
        if key in ("tab", "enter"):
            self._insert_highlighted()
        elif key in LIST_KEYS:
            getattr(self._names, f"action_{LIST_KEYS[key]}")()
        elif key == "escape":
            self._dismissed_at = self._mention.start if self._mention else None
            self._close()
        else:
            return False
        return True

    @on(OptionList.OptionSelected)
    def insert_clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._insert_highlighted()

    def _insert_highlighted(self) -> None:
        mention, option = self._mention, self._names.highlighted_option
        if mention is None or option is None or option.id is None:
            return
        path = option.id
        is_folder = path.endswith("/")  # more is to follow
        text = written(path, closed=not is_folder) + ("" if is_folder else " ")
        self._close()
        self.post_message(self.NameChosen(mention.start, mention.end, text))

    def _close(self) -> None:
        self.remove_class("-naming")

    # Files.

    def _read_files(self, paths: tuple[str, ...]) -> None:
        if not paths:
            self._show_files(())
            self.post_message(self.FilesRead(()))
            return
        draft = " ".join(map(written, paths))

        def end(files: tuple[Attachment, ...], error: LmtuiError | None = None) -> None:
            if paths == self._mentioned:
                self._show_files(files, error)
                self.post_message(self.FilesRead(files))

        run_in_thread(
            lambda: attach(draft, self.folder).files,
            self.call_later,
            end,
            failed=partial(end, ()),
        )

    def _show_files(
        self, files: tuple[Attachment, ...], error: LmtuiError | None = None
    ) -> None:
        """Token counts are added later."""
        self._files = files
        self._show_line(str(error) if error else self._files_line(()))
        self.query_one("#files").set_class(error is not None, "-wrong")

    def show_tokens(self, files: Sequence[Attachment], tokens: Sequence[int]) -> None:
        """Add the token counts, if the files are still the same."""
        if tuple(files) == self._files and len(tokens) == len(files):
            self._show_line(self._files_line(tokens))

    def _files_line(self, tokens: Sequence[int]) -> str:
        sizes = [f"  {count:,} tokens" for count in tokens] or [""] * len(self._files)
        parts = [f"{f.path}{size}" for f, size in zip(self._files, sizes, strict=True)]
        return f"+ {' · '.join(parts)}" if parts else ""

    def _show_line(self, line: str) -> None:
        self.query_one("#files", PlainLine).update(line)
        self.set_class(bool(line), "-listed")


def _path_row(path: str) -> Content:
    head, _, name = path.removesuffix("/").rpartition("/")
    folder = f"{head}/" if head or path.startswith("/") else ""
    slash = "/" if path.endswith("/") else ""
    return plain_line((folder, "$quiet"), name, slash)
