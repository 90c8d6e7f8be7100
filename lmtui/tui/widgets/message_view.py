"""One message of a conversation as it reads.

Owns how a message looks and how it grows. A message's text is foreign: it is made
visible first, and only then read as Markdown. Knows no engine and no conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from lmtui.text import visible, visible_line
from lmtui.tui.widgets.cells import clip
from lmtui.tui.widgets.markdown_lines import Block
from lmtui.tui.widgets.words import GrowingMarkdown, Line

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


class MessageView(GrowingMarkdown, can_focus=True):
    """One message: who wrote it, what, and beside the text how it ended.

    It draws all of that itself: what scrolling costs is the number of widgets.
    """

    HELP = """\
Alt+Up and Alt+Down go from message to message; Esc leads back to the prompt.
"""
    DEFAULT_CSS = """
    MessageView {
        margin: 0 0 1 0;
        &:focus { background: $surface; }
        & > .message--bar { color: $surface; }
        &.-user > .message--bar { color: $primary; }
        &:focus > .message--bar { color: $accent; }
        & > .message--head { color: $text-muted; }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"message--bar", "message--head"}
    LEFT, RIGHT = 2, 1
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
        self.key, self.role = entry.key, entry.role
        self._writer, self._note = entry.writer, entry.note
        self._found = found
        super().__init__(entry.text, classes=f"-{entry.role}")

    @property
    def styled_by(self) -> Widget:
        """The conversation, for all of its messages."""
        assert isinstance(self.parent, Widget)
        return self.parent

    def blocks(self) -> list[Block]:
        """Head and body; only the model's words are Markdown. Where something was
        searched for, they are shown as they were written, since only there is known
        where it stands."""
        if self.role == "assistant" and not self._found:
            first, *others = super().blocks()
            return [self._head(), replace(first, joined=True), *others]
        return [self._head(), Block(self.text, "plain", joined=True)]

    def _head(self) -> Block:
        parts = (self._writer, self._note)
        said = " · ".join(part for part in parts if part)
        return Block(visible_line(said), "head")

    def left_of_text(self) -> list[Segment]:
        """A bar that tells who speaks, and what has the focus."""
        bar = self.get_component_rich_style("message--bar")
        return [Segment("█", bar), Segment(" ", self.rich_style)]

    def lines_of(self, block: Block, width: int) -> list[Line]:
        """The lines of the head, of Markdown, or of a text as it was written."""
        if block.kind == "head":
            style = self.get_component_rich_style("message--head")
            return [([Segment(clip(block.source, width), style)], "\n")]
        if block.kind == "plain":
            content = marked(self.text, self._found)
            lines = broken(content, max(1, width))
            return [(line.render_segments(), joint) for line, joint in lines]
        return super().lines_of(block, width)

    def set_note(self, note: str) -> None:
        """Say beside the text how it ended."""
        self._note = note
        self._blocks[0] = self._head()
        self._show(0)

    def complete(self) -> None:
        """Draw the whole text once more, so that every block is closed."""
        self.update(self.text)

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


def broken(content: Content, width: int) -> Iterator[tuple[Content, str]]:
    """The lines of a text in so many cells, and what stands before each: a new line,
    or the spaces at which a line was broken."""
    for line in content.split("\n", allow_blank=True):
        whole = line.expand_tabs()
        end = 0
        for part in whole.wrap(width):
            start = max(end, whole.plain.find(part.plain, end))
            yield part, whole.plain[end:start] if end else "\n"
            end = start + len(part.plain)
