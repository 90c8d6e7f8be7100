"""A dialog with the tree of a conversation, to continue from any message.

A single child stays in its parent's column; only where there are several versions is
the tree indented. Knows no engine and no store.
"""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from lmtui import notation
from lmtui.chat.conversation import Conversation
from lmtui.chat.excerpts import preview_of
from lmtui.chat.message import ChatMessage
from lmtui.chat.thinking import answer_of
from lmtui.tui.model_state import shown_label
from lmtui.tui.picker import Picker, PickerRows
from lmtui.tui.widgets.plain_text import plain_line

_WRITERS = {"user": "You", "assistant": "Model"}


class TreeScreen(Picker[int]):
    """A list of all messages. Returns the id of the message to continue from."""

    HELP = """\
Enter continues from the message under the cursor; what follows it stays, as another
branch. ● marks what is shown now.
"""
    CSS_PATH = "tree.tcss"

    def __init__(self, conversation: Conversation) -> None:
        rows = dict(rows_of(conversation))
        ids, leaf = list(rows), conversation.path[-1].id
        picker_rows = PickerRows(
            ids,
            list(rows.values()),
            foot="Enter continues from there · Esc closes",
            at=ids.index(leaf) if leaf in ids else 0,
        )
        super().__init__("Every branch of this conversation", picker_rows)


def rows_of(conversation: Conversation) -> Iterator[tuple[int, Content]]:
    shown = {node.id for node in conversation.path}
    stack = _following(conversation, 0, "")
    while stack:
        node, prefix, below = stack.pop()
        yield node.id, _row(node, prefix, shown=node.id in shown)
        stack += _following(conversation, node.id, below)


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


def _row(node: ChatMessage, prefix: str, *, shown: bool) -> Content:
    text = preview_of(answer_of(node) or node.content)
    return plain_line(
        ("● " if shown else "  ", "$accent"),
        (prefix, "$quiet"),
        (f"{_WRITERS.get(node.role, node.role)}  ", "$quiet"),
        (_numbers(node), "$quiet"),
        (text, "bold" if node.role == "user" else ""),
        (_origin(node), "$quiet"),
    )


def _numbers(node: ChatMessage) -> str:
    if node.finish is None:
        return ""
    nats = notation.log_prob(node.finish.logprob)
    return f"log P {nats} nats · {notation.counted(node.finish.tokens, 'token')}  "


def _origin(node: ChatMessage) -> str:
    if node.finish is None:
        return ""
    parts = notation.seconds(node.finish.seconds), shown_label(node.model or "")
    return "  " + " · ".join(part for part in parts if part)
