"""What is said of a conversation beside its messages. Knows no store."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from lmtui.chat.conversation import Conversation


@dataclass(frozen=True, slots=True)
class ConversationMeta:
    """What is said of a conversation beside its messages."""

    title: str
    named: bool = False
    """Whether the user gave it its title."""
    pinned: bool = False
    archived: bool = False
    thinking: str | None = None
    """What a model is told of thinking here, as the setting `chat.thinking` has it;
    None leaves it to that."""
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A conversation as a list shows it."""

    id: int
    uid: str
    title: str
    named: bool
    """Whether the user gave it its title."""
    pinned: bool
    archived: bool
    messages: int
    """Without the system message, all branches together."""
    preview: str
    """The beginning of the message that was kept last."""
    model: str | None
    """What wrote the last reply."""
    created: float
    updated: float
    """Seconds since the epoch, by the clock of then."""
    touched: int
    """Grows whenever something is said in any conversation; says, too, whether another
    program has said something in this one."""
    thinking: str | None = None
    """As in `Facts`."""

    @property
    def facts(self) -> ConversationMeta:
        """What of it goes along when it is taken elsewhere."""
        return ConversationMeta(
            self.title,
            named=self.named,
            pinned=self.pinned,
            archived=self.archived,
            thinking=self.thinking,
            created=self.created,
            updated=self.updated,
        )


@dataclass(frozen=True, slots=True)
class StoredConversation:
    """A conversation from the store."""

    about: ConversationSummary
    conversation: Conversation
