"""Messages that answer the questions of `writing_questions`.

Each names the revision or the job that it answers. Knows no widget and no engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from lmtui.engine.suggestion import Suggestion
from lmtui.engine.types import CursorPrediction, Replacement, ScoredSpan
from lmtui.errors import LmtuiError


@dataclass
class ExpectationReady(Message):
    """Prediction at the cursor."""

    revision: int
    expectation: CursorPrediction


@dataclass
class ExpectationFailed(Message):
    """Error in place of the prediction at the cursor."""

    revision: int
    error: LmtuiError


@dataclass
class GhostGrew(Message):
    """Growing suggestion: `text` only ever gets longer."""

    job: int
    text: str


@dataclass
class GhostEnded(Message):
    """Complete suggestion, or the reason that there is none."""

    job: int
    ghost: Suggestion


@dataclass
class AlternativesReady(Message):
    """Several suggestions for one place, the most probable beginning first."""

    job: int
    ghosts: tuple[Suggestion, ...]


@dataclass
class HeatArrived(Message):
    """Scored tokens of a text."""

    job: int
    stretch: ScoredSpan


@dataclass
class HeatFinished(Message):
    """All tokens that were asked for are scored."""

    job: int


@dataclass
class ReplacementsReady(Message):
    """Replacements for a word."""

    job: int
    replacements: tuple[Replacement, ...]


@dataclass
class ReplacementsProgressed(Message):
    """Progress of scoring the candidates for a replacement."""

    job: int
    done: int
    total: int


@dataclass
class WritingFailed(Message):
    """A suggestion, alternatives, scores or replacements could not be had."""

    job: int
    error: LmtuiError
