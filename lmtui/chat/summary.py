"""Metadata of conversations, as lists show it. Knows no store."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Lt

from lmtui.chat.conversation import Conversation

Count = Annotated[int, Ge(0), Lt(2**53)]
Time = Annotated[float, Ge(0), Lt(1e11)]
"""Seconds since the epoch, of a year that a date can show."""


@dataclass(frozen=True, slots=True)
class ConversationMeta:
    """Metadata that an export or a copy takes along."""

    title: str
    named: bool = False
    """Whether the user set the title."""
    pinned: bool = False
    thinking: str | None = None
    """The reasoning setting, a value of `chat.thinking`; None uses that setting."""
    created: Time = field(default_factory=time.time)
    updated: Time = field(default_factory=time.time)
    """By the clock of that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary(ConversationMeta):
    """A conversation as a list shows it."""

    id: Count
    uid: str
    messages: Count
    """Number of messages of all branches, without the system message."""
    preview: str
    """The beginning of the message that was saved last."""
    model: str | None
    """Label of the model that wrote the last reply."""
    touched: Count
    """A number that grows with every change of any conversation.

    It gives the order of use, and shows whether another program has changed this one.
    """


@dataclass(frozen=True, slots=True)
class StoredConversation:
    about: ConversationSummary
    conversation: Conversation
