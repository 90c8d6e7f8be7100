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

from lmtui.chat.thoughts import Thought
from lmtui.text import visible, visible_line
from lmtui.tui.widgets.thinking import UNFOLDED, ThinkingView, follow
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
    thought: Thought | None = None
    """What of the text is thinking."""


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
                tooltip="Copy the message's text; of an answer not the thinking."),
        Binding("C", "copy(True)", "Copy all", id="message.copy-all", show=False,
                tooltip="Copy the message's text, with what was thought."),
        Binding("f", "fold", "Fold", id="message.fold", show=False,
                tooltip="Show what was thought before the answer, or one line of it."),
        Binding("F", "fold_all", "Fold all", id="message.fold-all", show=False,
                tooltip="Show the thinking of every answer, or one line of each."),
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
        self._thought = entry.thought

    def compose(self) -> ComposeResult:
        """Head and body; only the model's words are Markdown. Where something was
        searched for, they are shown as they were written, since only there is known
        where it stands."""
        yield Static(self._head(), classes="head")
        if self.role == "assistant" and not self._found:
            if self._thought is not None:
                yield ThinkingView(self.text, self._thought)
            yield Words(self._answer)
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

    @property
    def _answer(self) -> str:
        """The text without the thinking."""
        return self.text[self._thought.place.end :] if self._thought else self.text

    def grow(self, piece: str, thought: Thought | None = None) -> None:
        """Add to the text, at the pace of whoever calls; `thought` is what of it is
        thinking now."""
        before, self._thought = self._thought, thought
        self.text += piece
        words = self.query_children(Words).first()
        if before is None and thought is None:
            if piece:
                words.grow(piece)
            return
        follow(words, self._answer)
        folds = self.query_children(ThinkingView)
        for fold in folds:
            fold.display = thought is not None
        if thought is not None and folds:
            folds.first().show(self.text, thought)
        elif thought is not None:
            self.mount(ThinkingView(self.text, thought), before=words)

    def complete(self) -> None:
        """Draw the whole text once more, so that every block is closed."""
        self.query_children(Words).first().update(self._answer)

    def action_copy(self, everything: bool = False) -> None:
        """Copy the text, as the model wrote it."""
        self.app.copy_to_clipboard(self.text if everything else self._answer)
        self.app.notify("Copied the message.")

    def action_fold(self) -> None:
        """Fold the thinking, or unfold it."""
        for fold in self.query_children(ThinkingView):
            fold.fold(not fold.folded)

    def action_fold_all(self) -> None:
        """Fold the thinking of all messages, or unfold it."""
        self.screen.toggle_class(UNFOLDED)
        for fold in self.screen.query(ThinkingView):
            fold.fold(not self.screen.has_class(UNFOLDED))

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
