"""The view of one message of a conversation.

Text of an answer is made visible (control characters) before it is read as Markdown.
Knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.thinking import ReasoningInfo, thought_of
from lmtui.engine.grammar.text import NAMES, grammar_of
from lmtui.engine.types import FinishReason
from lmtui.models.source import short_label
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import clip, clip_middle
from lmtui.tui.widgets.markdown import FOLD, MarkdownLine, StreamingMarkdown
from lmtui.tui.widgets.markdown_blocks import MarkdownBlock
from lmtui.tui.widgets.plain_text import plain_text

_SHORTEST = 6  # least cells of a writer's name that is cut
UNFOLDED = "-thoughts"
"""The class of a screen that shows all reasoning unfolded."""

_UNANSWERED = "not answered; the next one replaces it"
_WRITERS = {"user": "You", "system": "System"}


MessageAction = Literal["edit", "delete", "fork", "totals"]
Spans = tuple[tuple[int, int], ...]
"""Start and end of each part of a text, in code points."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as it is to be shown."""

    key: str
    """The id of the message in the conversation."""
    role: str
    text: str
    writer: str = ""
    note: str = ""
    thought: ReasoningInfo | None = None


class MessageView(StreamingMarkdown, can_focus=True):
    """One message: its writer, a note on how it ended, and the text.

    Draws all of that itself: the cost of scrolling grows with the number of widgets.
    """

    FOCUS_NAME = "message"
    HELP = """\
Alt+Up and Alt+Down move from message to message; Esc returns to the prompt.
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
    LEFT, RIGHT = 2, 1
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "request('edit')", "Edit", id="message.edit",
                tooltip="Edit it; an answer of the model can be edited too."),
        Binding("c", "copy", "Copy", id="message.copy",
                tooltip="Copy the message's text, without the thinking."),
        Binding("delete", "request('delete')", "Delete", id="message.delete",
                tooltip="Delete it and what follows it; /undo brings it back."),
        Binding("escape", "screen.stop", "Prompt", id="message.leave",
                tooltip="Stop the answer; else back to the prompt."),
        Binding("C", "copy(True)", "Copy all", id="message.copy-all", show=False,
                tooltip="Copy the message's text, with the thinking."),
        Binding("f", "fold", "Fold", id="message.fold", show=False,
                tooltip="Show what was thought before the answer, or one line of it."),
        Binding("F", "fold_all", "Fold all", id="message.fold-all", show=False,
                tooltip="Show the thinking of every answer, or one line of each."),
        Binding("k", "request('fork')", "Fork", id="message.fork", show=False,
                tooltip="Continue from here in a new conversation."),
        Binding("t", "request('totals')", "Totals", id="message.totals",
                show=False,
                tooltip="How probable it was in all, and which seed draws it again."),
    ]  # fmt: skip

    @dataclass
    class ActionRequested(Message):
        """The user requests an action on a message."""

        key: str
        action: MessageAction

    def __init__(self, entry: Entry, *, matches: Spans = ()) -> None:
        self.key, self.role = entry.key, entry.role
        self._writer, self.note = entry.writer, entry.note
        self.matches = matches
        super().__init__(entry.text, entry.thought, classes=f"-{entry.role}")

    def blocks(self) -> list[MarkdownBlock]:
        """Return head and body. Only answers are Markdown. Where matches are
        highlighted, the text is shown as it was written, since the matches are offsets
        in that."""
        if self.role != "assistant" or self.matches:
            return [self._head(), MarkdownBlock(self.text, "plain", joined=True)]
        first, *others = super().blocks()
        return [self._head(), replace(first, joined=True), *others]

    def _head(self) -> MarkdownBlock:
        parts = (self._writer, self.note)
        head = " · ".join(part for part in parts if part)
        return MarkdownBlock(visible_line(head), "head")

    def _fitted_head(self, block: MarkdownBlock, width: int) -> str:
        """Return the head in one line: where it does not fit, the writer is cut, since
        the note says which key goes on."""
        writer, note = visible_line(self._writer), visible_line(self.note)
        room = width - cell_len(note) - cell_len(" · ")
        if note and cell_len(block.source) > width and room >= _SHORTEST:
            return f"{clip_middle(writer, room)} · {note}"
        return clip(block.source, width)

    def left_of_text(self) -> list[Segment]:
        bar = self.get_component_rich_style("message--bar")
        return [Segment("█", bar), Segment(" ", self.rich_style)]

    def lines_of(self, block: MarkdownBlock, width: int) -> list[MarkdownLine]:
        if block.kind == "head":
            style = self.get_component_rich_style("message--head")
            return [([Segment(self._fitted_head(block, width), style)], "\n")]
        if block.kind == "plain":
            content = highlighted(self.text, self.matches)
            lines = wrapped_lines(content, max(1, width))
            return [(line.render_segments(), joint) for line, joint in lines]
        return super().lines_of(block, width)

    def set_note(self, note: str) -> None:
        self.note = note
        self._blocks[0] = self._head()
        self._show(0)

    @property
    def folded(self) -> bool:
        return self._folded

    def highlight(self, matches: Spans) -> None:
        if matches != self.matches:
            self.matches = matches
            self.replace(self.text, grows=self.grows)

    def fold(self, folded: bool) -> None:
        if folded != self._folded:
            self._folded = folded
            self.replace(self.text, grows=self.grows)

    def on_mount(self) -> None:
        self.fold(not self.screen.has_class(UNFOLDED))

    def on_click(self, event: events.Click) -> None:
        if self.block_at(event.y).kind == FOLD:
            self.fold(not self._folded)

    def action_copy(self, everything: bool = False) -> None:
        self.app.copy_to_clipboard(self.text if everything else self.answer)
        self.app.notify("Copied the message.")

    def action_fold(self) -> None:
        self.fold(not self._folded)

    def action_fold_all(self) -> None:
        self.screen.toggle_class(UNFOLDED)
        for view in self.screen.query(MessageView):
            view.fold(not self.screen.has_class(UNFOLDED))

    def action_request(self, action: MessageAction) -> None:
        self.post_message(self.ActionRequested(self.key, action))


def highlighted(text: str, spans: Spans) -> Content:
    parts: list[tuple[str, str] | str] = []
    offset = 0
    for start, end in spans:
        parts += text[offset:start], (text[start:end], "reverse bold")
        offset = end
    return plain_text(*parts, text[offset:])


def wrapped_lines(content: Content, width: int) -> Iterator[tuple[Content, str]]:
    """Yield the wrapped lines of a text, and what separates each from the line before:
    a newline, or the spaces at which it was wrapped."""
    for line in content.split("\n", allow_blank=True):
        expanded = line.expand_tabs()
        end = 0
        for part in expanded.wrap(width):
            start = max(end, expanded.plain.find(part.plain, end))
            yield part, expanded.plain[end:start] if end else "\n"
            end = start + len(part.plain)


def entries_of(conversation: Conversation) -> list[Entry]:
    """Return the messages of the active branch, without those that are empty."""
    nodes = conversation.path[1:]
    return [entry_of(conversation, node) for node in nodes if not node.is_empty]


def entry_of(conversation: Conversation, node: ChatMessage) -> Entry:
    return Entry(
        str(node.id),
        node.role,
        node.content,
        writer=_WRITERS.get(node.role) or short_label(node.model or "Model"),
        note=note_of(conversation, node),
        thought=thought_of(node),
    )


def note_of(conversation: Conversation, node: ChatMessage) -> str:
    """Return the number of the version, if there are several, the grammar that the
    message follows, how it ended, and whether it is unanswered."""
    versions = [sibling.id for sibling in conversation.siblings(node.id)]
    number = f"{versions.index(node.id) + 1}/{len(versions)}"
    parts = (
        number if len(versions) > 1 else "",
        _grammar_note(node),
        _left_out_note(node),
        _UNANSWERED if _is_unanswered(conversation, node) else "",
        _end_note(node),
    )
    return " · ".join(part for part in parts if part)


def _is_unanswered(conversation: Conversation, node: ChatMessage) -> bool:
    unanswered = node.role == "user" and not conversation.is_answered(node.id)
    # An older one, which others follow, is sent with them.
    return unanswered and node.id not in [turn.id for turn in conversation.turns]


def _grammar_note(node: ChatMessage) -> str:
    grammar = node.settings.grammar if node.settings else None
    return "" if grammar is None else f"follows a {NAMES[grammar_of(grammar).kind]}"


def _left_out_note(node: ChatMessage) -> str:
    noun = "message" if node.left_out == 1 else "messages"
    return f"without {node.left_out:,} earlier {noun}" if node.left_out else ""


def _end_note(node: ChatMessage) -> str:
    if node.state == "growing":
        return "…"
    if node.state == "failed":
        return "broke off"
    if node.state == "stopped":
        return "stopped"
    reason = node.finish.reason if node.finish else FinishReason.STOP
    if reason is FinishReason.STOP:
        return ""
    suffix = "; Ctrl+G goes on" if reason is FinishReason.LENGTH else ""
    return f"{reason.words}{suffix}"
