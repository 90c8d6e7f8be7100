"""Which model a conversation goes on with: the one that wrote its last reply.

Owns the choice. Knows neither what is on this machine nor what is loaded.
"""

from __future__ import annotations

from lmtui.chat.tree import Conversation


def model_of(conversation: Conversation) -> str | None:
    """The label of the model that wrote the last reply of the shown branch; None
    where nothing says."""
    written = [node.model for node in conversation.path if node.model]
    return written[-1] if written else None
