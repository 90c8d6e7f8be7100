"""A dialog with the tree of a conversation, to continue from any message.

A single child stays in its parent's column; only where there are several versions is
the tree indented. Knows no engine and no store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui import notation
from lmtui.chat.conversation import Conversation
from lmtui.chat.excerpts import preview_of
from lmtui.chat.message import ChatMessage
from lmtui.chat.thinking import answer_of
from lmtui.text import visible_line
from lmtui.tui.model_state import shown_label
from lmtui.tui.widgets.dialog_list import DialogList

_WRITERS = {"user": "You", "assistant": "Model"}


class TreeScreen(ModalScreen[int | None]):
    """A list of all messages. Returns the id of the message to continue from."""

    HELP = """\
Enter continues from the message under the cursor; what follows it stays, as another
branch. ● marks what is shown now.
"""
    CSS_PATH = "tree.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Close", id="tree.close",
                tooltip="Close without a change."),
    ]  # fmt: skip

    def __init__(self, conversation: Conversation) -> None:
        super().__init__()
        self._rows = list(rows_of(conversation))
        self._leaf = conversation.path[-1].id

    def compose(self) -> ComposeResult:
        with Vertical(id="dialog"):
            yield Static(Content("Every branch of this conversation"), id="title")
            yield DialogList(id="list")
            yield Static(Content("Enter goes on from there · Esc closes"), id="foot")

    def on_mount(self) -> None:
        """List the messages with the cursor on the last one of the active branch."""
        options = self.query_one(DialogList)
        options.add_options([Option(line) for _, line in self._rows])
        ids = [id_ for id_, _ in self._rows]
        options.highlighted = ids.index(self._leaf) if self._leaf in ids else 0
        options.focus()

    @on(OptionList.OptionSelected)
    def choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._rows[event.option_index][0])

    def action_leave(self) -> None:
        self.dismiss(None)


def rows_of(conversation: Conversation) -> Iterator[tuple[int, Content]]:
    """Yield the id and the row of each message, in the order of the tree."""
    shown = {node.id for node in conversation.path}
    waiting = _following(conversation, 0, "")
    while waiting:
        node, before, after = waiting.pop()
        yield node.id, _line(node, before, shown=node.id in shown)
        waiting += _following(conversation, node.id, after)


def _following(
    conversation: Conversation, id_: int, prefix: str
) -> list[tuple[ChatMessage, str, str]]:
    """Return the children of a message in reverse order, each with the prefix of its
    row and of the rows below it."""
    children = [node for node in conversation.children(id_) if not node.is_empty]
    if len(children) == 1:
        return [(children[0], prefix, prefix)]
    rows = [(node, f"{prefix}├ ", f"{prefix}│ ") for node in children]
    if rows:
        rows[-1] = (children[-1], f"{prefix}└ ", f"{prefix}  ")
    return rows[::-1]


def _line(node: ChatMessage, before: str, *, shown: bool) -> Content:
    text = visible_line(preview_of(answer_of(node) or node.content))
    return Content.assemble(
        ("● " if shown else "  ", "$accent"),
        (before, "$quiet"),
        (f"{_WRITERS.get(node.role, node.role)}  ", "$quiet"),
        (text, "bold" if node.role == "user" else ""),
        (f"  {_numbers(node)}" if node.finish else "", "$quiet"),
    )


def _numbers(node: ChatMessage) -> str:
    """Return the numbers of an answer: tokens, log P, seconds, model."""
    assert node.finish is not None
    parts = (
        notation.counted(node.finish.tokens, "token"),
        f"log P {notation.log_prob(node.finish.logprob)} nats",
        notation.seconds(node.finish.seconds),
        shown_label(node.model or ""),
    )
    return " · ".join(part for part in parts if part)
