"""Messages that answer the questions of `inspecting_questions`.

Each names the revision or the job that it answers. Knows no widget and no engine.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from lmtui.engine.types import Distribution, ScoredToken, TokenMatches
from lmtui.errors import LmtuiError


@dataclass
class PlaceLooked(Message):
    """Distribution at a position."""

    revision: int
    distribution: Distribution


@dataclass
class PlaceFailed(Message):
    """Error in place of the distribution at a position."""

    revision: int
    error: LmtuiError


@dataclass
class TokensFound(Message):
    """Tokens whose text matches a search, with their ranks."""

    revision: int
    found: TokenMatches


@dataclass
class FindFailed(Message):
    """Error of a search for tokens."""

    revision: int
    error: LmtuiError


@dataclass
class WaysLookedAhead(Message):
    """Continuations of several candidate tokens."""

    job: int
    ways: tuple[tuple[ScoredToken, ...], ...]


@dataclass
class LookAheadFailed(Message):
    """Error of a look-ahead after several candidate tokens."""

    job: int
    error: LmtuiError
