"""What becomes known of a text that is being written: facts, in the past tense.

Owns the answers to the questions of `writing_questions`; each names the revision or
the job it belongs to. Knows no widget and no engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from lmtui.engine.suggestion import Suggestion
from lmtui.engine.types import CursorPrediction, Replacement, ScoredSpan
from lmtui.errors import LmtuiError


@dataclass
class ExpectationReady(Message):
    """What the model expects at the cursor became known."""

    revision: int
    expectation: CursorPrediction


@dataclass
class ExpectationFailed(Message):
    """Nothing can be said of that cursor."""

    revision: int
    error: LmtuiError


@dataclass
class GhostGrew(Message):
    """A suggestion grew to this text, which is only ever added to."""

    job: int
    text: str


@dataclass
class GhostEnded(Message):
    """A suggestion is whole, or it turned out that there is none."""

    job: int
    ghost: Suggestion


@dataclass
class AlternativesReady(Message):
    """Several suggestions for one place, the most probable beginning first."""

    job: int
    ghosts: tuple[Suggestion, ...]


@dataclass
class HeatArrived(Message):
    """Some tokens of a text were scored."""

    job: int
    stretch: ScoredSpan


@dataclass
class HeatFinished(Message):
    """All tokens that were asked for are scored."""

    job: int


@dataclass
class ReplacementsReady(Message):
    """What could stand in place of a word became known."""

    job: int
    replacements: tuple[Replacement, ...]


@dataclass
class ReplacementsProgressed(Message):
    """Of so many candidates for the place of a word, some are scored."""

    job: int
    done: int
    total: int


@dataclass
class WritingFailed(Message):
    """A suggestion, alternatives, scores or replacements could not be had."""

    job: int
    error: LmtuiError
