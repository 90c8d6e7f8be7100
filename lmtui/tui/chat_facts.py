"""What the store of conversations tells the screens: facts, in the past tense.

Owns the messages that come of keeping and finding. Knows no widget and no store.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from lmtui.chat.listed import Listed, Loaded
from lmtui.chat.marking import Passage
from lmtui.chat.search import Hit
from lmtui.engine.types import Role
from lmtui.errors import LmtuiError


@dataclass
class ConversationKept(Message):
    """What was said is on the disk, or was tried and could not be: a job can begin."""

    job: int


@dataclass
class KeepingFailed(Message):
    """Something can't be kept; it is held, and tried again."""

    error: LmtuiError


@dataclass
class KeepingRecovered(Message):
    """What could not be kept before is kept now."""


@dataclass
class StoreReplaced(Message):
    """The file of the conversations was broken; another one is in its place."""

    words: str
    """What became of the broken one."""


@dataclass
class ChangedElsewhere(Message):
    """Another program has said something in a conversation that is held here."""

    uid: str


@dataclass
class ConversationsListed(Message):
    """The conversations were listed."""

    rows: tuple[Listed, ...]


@dataclass
class WordsFound(Message):
    """Conversations were searched for what was typed."""

    text: str
    hits: tuple[Hit, ...]


@dataclass
class ConversationPeeked(Message):
    """The end of a conversation was read, to be shown beside the list."""

    id: int
    messages: tuple[tuple[Role, str], ...]
    """Who said what, the last message at the end."""


@dataclass
class ConversationChosen(Message):
    """The user wants to go on with a conversation."""

    id: int
    message: int | None = None
    """The message to show it at; None for its end."""
    words: str = ""
    """What was searched for, to be found again in that message."""


@dataclass
class ConversationOpened(Message):
    """A conversation was read from the store."""

    loaded: Loaded
    message: int | None
    passage: Passage
    """Where in that message the words stand that were searched for."""


@dataclass
class PromptsRecalled(Message):
    """What was asked of late became known, the last of it at the end."""

    prompts: tuple[str, ...]


@dataclass
class ConversationChanged(Message):
    """A conversation in the list was renamed, marked or deleted."""

    id: int


@dataclass
class StoreFailed(Message):
    """The store could not answer a question."""

    error: LmtuiError
