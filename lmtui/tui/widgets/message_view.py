"""One message of a conversation as it reads.

Owns how a message looks and how it grows. A message's text is foreign: it is made
visible first, and only then read as Markdown. Knows no engine and no conversation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from lmtui.text import visible, visible_line
from lmtui.tui.widgets.words import Words

Wish = Literal["edit", "delete", "fork", "totals"]
Places = tuple[tuple[int, int], ...]
"""Start and end of each part of a text, in code points."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as it is to be shown."""

    key: str
    """Names the message in the conversation."""
    role: str
    text: str
    writer: str = ""
    note: str = ""
    """Said beside the text."""


class MessageView(Vertical, can_focus=True):
    """One message: who wrote it, what, and beside the text how it ended."""

    HELP = """\
Alt+Up and Alt+Down go from message to message; Esc leads back to the prompt.
"""
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
        Binding("c", "copy", "Copy", id="message.copy",
                tooltip="Copy the message's text."),
        Binding("e", "wish('edit')", "Edit", id="message.edit",
                tooltip="Say it in other words, the model's answers too."),
        Binding("d", "wish('delete')", "Delete", id="message.delete",
                tooltip="Delete it and what follows it; /undo brings it back."),
        Binding("k", "wish('fork')", "Fork", id="message.fork",
                tooltip="Go on from here in a conversation of its own."),
        Binding("t", "wish('totals')", "Totals", id="message.totals",
                tooltip="Say beside it how probable it was in all."),
    ]  # fmt: skip

    class Wished(Message):
        """The user wants something done with a message."""

        def __init__(self, key: str, wish: Wish) -> None:
            self.key, self.wish = key, wish
            super().__init__()

    def __init__(self, entry: Entry, *, found: Places = ()) -> None:
        super().__init__(classes=f"-{entry.role}")
        self.key, self.role, self.text = entry.key, entry.role, entry.text
        self._writer = visible_line(entry.writer)
        self._note = entry.note
        self._found = found

    def compose(self) -> ComposeResult:
        """Head and body; only the model's words are Markdown. Where something was
        searched for, they are shown as they were written, since only there is known
        where it stands."""
        yield Static(self._head(), classes="head")
        if self.role == "assistant" and not self._found:
            yield Words(self.text)
        else:
            yield Static(marked(self.text, self._found), classes="words")

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

    def action_wish(self, wish: Wish) -> None:
        """Tell what the user wants."""
        self.post_message(self.Wished(self.key, wish))


def marked(text: str, places: Places) -> Content:
    """A text with parts of it marked, safe to draw."""
    parts: list[tuple[str, str]] = []
    at = 0
    for start, end in places:
        parts.append((visible(text[at:start]), ""))
        parts.append((visible(text[start:end]), "reverse bold"))
        at = end
    return Content.assemble(*parts, (visible(text[at:]), ""))
