"""The conversation as it reads.

Owns how a message looks and how it grows. A message's text is foreign: it is made
visible first, and only then read as Markdown. Knows no engine and no conversation.
"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lmtui.text import visible, visible_line
from lmtui.tui.widgets.words import Words


class MessageView(Vertical, can_focus=True):
    """One message: who wrote it, what, and beside the text how it ended."""

    DEFAULT_CSS = """
    MessageView {
        height: auto;
        padding: 0 1;
        margin: 0 0 1 0;
        border-left: thick $surface;
        &.-user { border-left: thick $primary; }
        &:focus { border-left: thick $accent; background: $surface; }
        & > .head { color: $text-muted; height: 1; }
        & > .words { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "c", "copy", "Copy", id="message.copy", tooltip="Copy the message's text."
        )
    ]

    def __init__(
        self, key: str, role: str, text: str = "", *, writer: str = "", note: str = ""
    ) -> None:
        super().__init__(classes=f"-{role}")
        self.key = key
        """Names the message in the conversation."""
        self.role = role
        self.text = text
        self._writer = visible_line(writer)
        self._note = note

    def compose(self) -> ComposeResult:
        """Head and body; only the model's words are Markdown."""
        yield Static(self._head(), classes="head")
        if self.role == "assistant":
            yield Words(self.text)
        else:
            yield Static(Content(visible(self.text)), classes="words")

    def _head(self) -> Content:
        parts = (self._writer, self._note)
        line = Content(" · ".join(part for part in parts if part))
        return line.truncate(max(1, self.content_size.width or 80), ellipsis=True)

    def on_resize(self) -> None:
        """Fit the head into another width."""
        self.query_one(".head", Static).update(self._head())

    def set_note(self, note: str) -> None:
        """Say beside the text how it ended."""
        self._note = note
        self.query_one(".head", Static).update(self._head())

    def grow(self, piece: str) -> None:
        """Add to the text, at the pace of whoever calls."""
        self.text += piece
        if piece:
            self.query_one(Words).grow(piece)

    def complete(self) -> None:
        """Draw the whole text once more, so that every block is closed."""
        self.query_one(Words).update(self.text)

    def action_copy(self) -> None:
        """Copy the text, as the model wrote it."""
        self.app.copy_to_clipboard(self.text)
        self.app.notify("Copied the message.")


class Transcript(VerticalScroll, can_focus=False):
    """All messages, following the end only while the reader is there."""

    DEFAULT_CSS = """
    Transcript {
        padding: 1 1 0 1;
        scrollbar-size-vertical: 1;
        & > .empty { color: $text-muted; padding: 1 2; height: auto; }
    }
    """

    def on_mount(self) -> None:
        """Follow what is written."""
        self.anchor()

    async def show(self, views: list[MessageView]) -> None:
        """Replace everything by these messages."""
        await self.remove_children()
        await self.mount_all(views)
        self.anchor()

    async def add(self, view: MessageView) -> None:
        """Add a message at the end."""
        for hint in self.query(".empty"):
            await hint.remove()
        await self.mount(view)
        self.anchor()
