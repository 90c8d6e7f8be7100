"""A page to read over what is shown. Owns nothing but the way back."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


class PageScreen(ModalScreen[None]):
    """A title and a text, which is safe to draw already."""

    HELP = """\
Arrows, PgUp and PgDn scroll.
"""
    CSS_PATH = "page.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="page.close",
                tooltip="Back to where you were."),
    ]  # fmt: skip

    def __init__(self, title: str, words: Content) -> None:
        super().__init__()
        self._title, self._words = title, words

    def compose(self) -> ComposeResult:
        """Everything is there from the first frame."""
        with Vertical(id="dialog"):
            yield Static(Content(self._title), id="title")
            with VerticalScroll(id="page"):
                yield Static(self._words)
            yield Static(Content("↑ ↓ scroll · Esc closes"), id="foot")

    def on_mount(self) -> None:
        """The page takes the keys."""
        self.query_one("#page").focus()

    def action_leave(self) -> None:
        """Back to where it was opened."""
        self.dismiss(None)
