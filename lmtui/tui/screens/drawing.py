"""From a message of a conversation to its view in the transcript.

Owns the words beside a message: who wrote it, which version it is, how it ended. Knows
neither engine nor screen.
"""

from __future__ import annotations

from lmtui.chat.node import Node
from lmtui.chat.thoughts import thought_of
from lmtui.chat.tree import Conversation
from lmtui.engine.types import FinishReason
from lmtui.models.wanted import short_label
from lmtui.tui.widgets.message_view import Entry

_ENDS = {
    FinishReason.CANCELLED: "stopped",
    FinishReason.LENGTH: "reached max tokens; Ctrl+G goes on",
    FinishReason.CONTEXT: "the context is full",
}
_UNANSWERED = "not answered; the next one replaces it"
_WRITERS = {"user": "You", "system": "System"}


def entries_of(conversation: Conversation) -> list[Entry]:
    """The active branch; what ended without a word has nothing to show."""
    nodes = conversation.path[1:]
    return [entry_of(conversation, node) for node in nodes if not node.is_empty]


def entry_of(conversation: Conversation, node: Node) -> Entry:
    """One message."""
    return Entry(
        str(node.id),
        node.role,
        node.content,
        writer=_WRITERS.get(node.role) or short_label(node.model or "Model"),
        note=note_of(conversation, node),
        thought=thought_of(node),
    )


def note_of(conversation: Conversation, node: Node) -> str:
    """Which version a message is, if there are several, and how it ended or that it has
    no answer."""
    versions = [sibling.id for sibling in conversation.siblings(node.id)]
    place = f"{versions.index(node.id) + 1}/{len(versions)}"
    parts = (
        place if len(versions) > 1 else "",
        _left_out(node),
        _UNANSWERED if _is_unanswered(conversation, node) else "",
        _end(node),
    )
    return " · ".join(part for part in parts if part)


def _is_unanswered(conversation: Conversation, node: Node) -> bool:
    return node.role == "user" and not conversation.is_answered(node.id)


def _left_out(node: Node) -> str:
    what = "message" if node.left_out == 1 else "messages"
    return f"without {node.left_out:,} earlier {what}" if node.left_out else ""


def _end(node: Node) -> str:
    if node.state == "growing":
        return "…"
    if node.state == "failed":
        return "broke off"
    if node.state == "stopped":
        return "stopped"
    return _ENDS.get(node.finish.reason, "") if node.finish else ""
