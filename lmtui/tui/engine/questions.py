"""Questions to the engine thread, as values.

Each has a kind (its urgency), a flag that stops it, and the report of its failure.
Knows neither the thread nor the engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from threading import Event
from typing import ClassVar

from textual.message import Message as Report

from lmtui.engine.protocol import EditorEngine
from lmtui.engine.types import BosRule, ChatTurn, Prompt, SamplingSettings
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.models.progress import OnProgress
from lmtui.tui.engine.batching import Post
from lmtui.tui.engine.messages import (
    GenerationFailed,
    LookFailed,
    ModelFailed,
    PreviewFailed,
    ScoreFailed,
    TextsCounted,
)

Opened = EditorEngine | tuple[EditorEngine, EditorEngine]
"""An engine, or an engine and one to compare it with."""
OpenEngine = Callable[[OnProgress], Opened]
"""Opens the engine on the engine thread and reports its progress."""


class Kind(IntEnum):
    """Kinds of question, the most urgent first."""

    LOAD = 0
    PREVIEW = 1
    LOOK = 2
    COUNT = 3
    GENERATE = 4
    REPLACE = 5
    GHOST = 6
    HEAT = 7
    SCORE = 8


@dataclass(frozen=True)
class TextAfter:
    """A message to score, after the messages before it."""

    messages: tuple[ChatTurn, ...]
    text: str


@dataclass(frozen=True)
class TokensAfter:
    """Ids to score, after the ids before them."""

    ids: tuple[int, ...]
    prefix: tuple[int, ...] = ()
    top: int = 0
    """How many of the most probable tokens to report at each."""


@dataclass(frozen=True)
class DocumentAlone:
    """A document to read, or a message like one, as it stands."""

    text: str
    after: tuple[ChatTurn, ...] | None = None
    """The messages before it, where it is one of a conversation."""
    bos: BosRule = "auto"
    window: int | None = None
    stride: int | None = None


@dataclass(frozen=True, repr=False)
class PartOf:
    """Part of a document to score within one of its windows."""

    ids: tuple[int, ...]
    """Of the whole document."""
    prefix: tuple[int, ...]
    windows: Windows
    since: int
    end: int
    top: int = 20
    """How many of the most probable tokens to report at each."""


Passage = TextAfter | TokensAfter | PartOf


@dataclass(frozen=True, kw_only=True, eq=False)
class Question(ABC):
    """Request to the engine, and the flag that ends it early."""

    kind: ClassVar[Kind]
    reply: Post
    """Takes the answer: that of whoever asked. Called on the engine thread."""
    flag: Event = field(default_factory=Event, repr=False)
    """Set when the answer is not wanted any more."""

    @property
    def bound(self) -> bool:
        """Whether the question holds ids or handles of the model that is loaded now."""
        return False

    @abstractmethod
    def failed(self, error: LmtuiError) -> Report:
        """Return the report of its failure."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job(Question):
    """Question that is followed to its end, not only until a newer one comes."""

    job: int
    """The number that the asker gave it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Load(Question):
    """Open an engine in place of the one there is."""

    kind = Kind.LOAD
    load: int
    """The number that the asker gave it."""
    open_engine: OpenEngine

    def failed(self, error: LmtuiError) -> Report:
        """As `ModelFailed`."""
        return ModelFailed(error, load=self.load)


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview(Question):
    """Draw an earlier distribution again, without the model."""

    kind = Kind.PREVIEW
    revision: int
    handle: int
    settings: SamplingSettings
    start: int
    count: int
    other: bool = False
    """Whether it is one of the model that is compared with."""

    @property
    def bound(self) -> bool:
        """A handle belongs to its engine."""
        return True

    def failed(self, error: LmtuiError) -> Report:
        """As `PreviewFailed`."""
        return PreviewFailed(self.revision, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Look(Question):
    """Read a message that is being written."""

    kind = Kind.LOOK
    revision: int
    messages: tuple[ChatTurn, ...]
    draft: str
    settings: SamplingSettings
    top: int
    upto: int | None = None
    """After how many of its tokens; None for all."""
    thinking: bool | None = None
    """As in `Engine.prompt`."""

    def failed(self, error: LmtuiError) -> Report:
        """As `LookFailed`."""
        return LookFailed(self.revision, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class LookAfter(Question):
    """Compute the distribution after ids."""

    kind = Kind.LOOK
    revision: int
    ids: tuple[int, ...]
    settings: SamplingSettings
    top: int

    @property
    def bound(self) -> bool:
        """Ids belong to the tokenizer they came from."""
        return True

    def failed(self, error: LmtuiError) -> Report:
        """As `LookFailed`."""
        return LookFailed(self.revision, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Count(Question):
    """Count the tokens of each of several texts."""

    kind = Kind.COUNT
    revision: int
    texts: tuple[str, ...]

    def failed(self, error: LmtuiError) -> Report:
        """As `TextsCounted` without counts."""
        return TextsCounted(self.revision, ())


@dataclass(frozen=True, kw_only=True, eq=False)
class Generate(Job):
    """Answer a conversation, or go on after the ids of a prompt."""

    kind = Kind.GENERATE
    start: tuple[ChatTurn, ...] | Prompt
    settings: SamplingSettings
    prefill: str
    top: int
    drop_oldest: bool = False
    """Whether the oldest turns are left out where all of them do not fit."""
    thinking: bool | None = None
    """As in `Engine.prompt`."""

    @property
    def bound(self) -> bool:
        """Ids belong to the tokenizer they came from."""
        return isinstance(self.start, Prompt)

    def failed(self, error: LmtuiError) -> Report:
        """As `GenerationFailed`."""
        return GenerationFailed(self.job, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Score(Job):
    """Score a given text."""

    kind = Kind.SCORE
    passage: Passage
    other: bool = False
    """Whether the model that is compared with is asked."""

    @property
    def bound(self) -> bool:
        """Ids belong to the tokenizer they came from."""
        return isinstance(self.passage, TokensAfter | PartOf)

    def failed(self, error: LmtuiError) -> Report:
        """As `ScoreFailed`."""
        return ScoreFailed(self.job, error)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut(Job):
    """Cut a document into tokens."""

    kind = Kind.SCORE
    document: DocumentAlone
    other: bool = False
    """As in `Score`."""

    def failed(self, error: LmtuiError) -> Report:
        """As `ScoreFailed`."""
        return ScoreFailed(self.job, error)
