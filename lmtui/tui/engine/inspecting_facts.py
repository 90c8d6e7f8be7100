"""What becomes known of a text that is looked into: facts, in the past tense.

Owns the answers to the questions of `inspecting_questions`; each names the revision or
the job it belongs to. Knows no widget and no engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from lmtui.engine.types import Distribution, ScoredToken, TokenMatches
from lmtui.errors import LmtuiError


@dataclass
class PlaceLooked(Message):
    """What the model expects at a place became known."""

    revision: int
    distribution: Distribution


@dataclass
class PlaceFailed(Message):
    """Nothing can be said of a place."""

    revision: int
    error: LmtuiError


@dataclass
class TokensFound(Message):
    """The tokens that say what was typed, with their ranks."""

    revision: int
    found: TokenMatches


@dataclass
class FindFailed(Message):
    """No tokens could be looked for."""

    revision: int
    error: LmtuiError


@dataclass
class WaysLookedAhead(Message):
    """Where each of several tokens would lead became known."""

    job: int
    ways: tuple[tuple[ScoredToken, ...], ...]


@dataclass
class LookAheadFailed(Message):
    """Where several tokens would lead can't be said."""

    job: int
    error: LmtuiError
