"""What can be looked into: a file, a text, or tokens that are known already.

Values only. Reading may wait for a disk and is for the screen to do aside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lmtui.engine.types import BosRule, ChatTurn, ScoredToken, Step


@dataclass(frozen=True, slots=True)
class KnownTokens:
    """Tokens with their numbers, and the model that they are of."""

    tokens: tuple[ScoredToken, ...] | tuple[Step, ...]
    before: tuple[int, ...]
    """The ids that the model read before them."""
    model: str
    """Its label: to another one the ids mean nothing."""


@dataclass(frozen=True, slots=True)
class InspectSource:
    """Something to look into."""

    name: str
    read: Callable[[], str] | None = None
    """Gives the text, or raises an `LmtuiError`; None where there is none."""
    known: KnownTokens | None = None
    """The tokens, where they need not be made of a text."""
    after: tuple[ChatTurn, ...] | None = None
    """The messages before the text, where it is one of a conversation."""
    selected: tuple[int, int] | None = None
    """A part of the text that is selected in the beginning, in code points."""
    bos: BosRule = "auto"
    window: int | None = None
    stride: int | None = None
