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
from textual.widgets import OptionList, Static
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
from lmtui.text import visible_line
from lmtui.tui.background import run_in_thread
from lmtui.tui.widgets.dialog_list import DialogList

WALKS = {"up": "cursor_up", "down": "cursor_down"}
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
    class Taken(Message):
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
        self._left: int | None = None  # start of the @ whose list the user closed
        self._paths: tuple[str, ...] = ()
        self._named: tuple[str, ...] = ()
        self._files: tuple[Attachment, ...] = ()

    def compose(self) -> ComposeResult:
        names = DialogList(id="names")
        names.can_focus = False
        yield names
        yield Static(id="files", markup=False)

    @property
    def is_open(self) -> bool:
        """Whether names are listed."""
        return self.has_class("-naming")

    @property
    def _names(self) -> DialogList:
        return self.query_one(DialogList)

    def follow(self, draft: str, cursor: int) -> None:
        """Follow a change of the draft or the cursor."""
        self._follow_name(mention_at(draft, cursor))
        begun = self._mention.start if self._mention else None
        named = tuple(m.path for m in mentions(draft) if m.start != begun)
        if named != self._named:
            self._named = named
            self._read(named)

    # Completion of names.

    def _follow_name(self, mention: Mention | None) -> None:
        if mention == self._mention:
            return
        self._mention = mention
        if mention is None or mention.start != self._left:
            self._left = None
        if mention is None or self._left is not None:
            self._close()
            return

        run_in_thread(
            lambda: completions(mention.path, self.folder),
            self.call_later,
            then=partial(self._offer, mention),
            failed=lambda _: self._offer(mention, ()),
            bug=LmtuiError("names can't be completed"),
        )

    def _offer(self, mention: Mention, paths: tuple[str, ...]) -> None:
        if mention != self._mention or self._left is not None:
            return  # the name has changed meanwhile
        self._paths = paths
        names = self._names
        names.clear_options()
        names.add_options(Option(_line(path)) for path in paths)
        names.highlighted = 0 if paths else None
        self.set_class(paths not in ((), (mention.path,)), "-naming")

    def take_key(self, key: str) -> bool:
        """Handle a key while names are listed; return whether it was used. The widget
        with the focus calls this first."""
        if not self.is_open:
            return False
        if key in ("tab", "enter"):
            self._take()
        elif key in WALKS:
            getattr(self._names, f"action_{WALKS[key]}")()
        elif key == "escape":
            self._left = self._mention.start if self._mention else None
            self._close()
        else:
            return False
        return True

    @on(OptionList.OptionSelected)
    def take_clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._take()

    def _take(self) -> None:
        mention, place = self._mention, self._names.highlighted
        if mention is None or place is None:
            return
        path = self._paths[place]
        into = path.endswith("/")  # a folder: more is to follow
        text = written(path, closed=not into) + ("" if into else " ")
        self._close()
        self.post_message(self.Taken(mention.start, mention.end, text))

    def _close(self) -> None:
        self.remove_class("-naming")

    # Files.

    def _read(self, named: tuple[str, ...]) -> None:
        if not named:
            self._show_files(())
            self.post_message(self.FilesRead(()))
            return
        draft = " ".join(map(written, named))

        def end(files: tuple[Attachment, ...], error: LmtuiError | None = None) -> None:
            if named == self._named:
                self._show_files(files, error)
                self.post_message(self.FilesRead(files))

        run_in_thread(
            lambda: attach(draft, self.folder).files,
            self.call_later,
            then=end,
            failed=partial(end, ()),
            bug=LmtuiError(""),  # nothing is shown: sending the draft tells it
        )

    def _show_files(
        self, files: tuple[Attachment, ...], error: LmtuiError | None = None
    ) -> None:
        """List the files; their token counts come later."""
        self._files = files
        self._tell(str(error) if error else self._listed(()))
        self.query_one("#files").set_class(error is not None, "-wrong")

    def show_tokens(self, files: Sequence[Attachment], tokens: Sequence[int]) -> None:
        """Add the token counts, if the files are still the same."""
        if tuple(files) == self._files and len(tokens) == len(files):
            self._tell(self._listed(tokens))

    def _listed(self, tokens: Sequence[int]) -> str:
        told = [f"  {count:,} tokens" for count in tokens] or [""] * len(self._files)
        parts = [f"{f.path}{size}" for f, size in zip(self._files, told, strict=True)]
        return f"+ {' · '.join(parts)}" if parts else ""

    def _tell(self, words: str) -> None:
        self.query_one("#files", Static).update(Content(visible_line(words)))
        self.set_class(bool(words), "-listed")


def _line(path: str) -> Content:
    """Return a name as a row of the list, with the folder in a quiet colour."""
    head, _, name = path.removesuffix("/").rpartition("/")
    folder = f"{head}/" if head or path.startswith("/") else ""
    slash = "/" if path.endswith("/") else ""
    return Content.assemble((visible_line(folder), "$quiet"), visible_line(name), slash)
