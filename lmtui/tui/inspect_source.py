"""Sources for the inspector: a file, a text, or tokens that are scored already.

Values only. Reading may block on the disk; the screen does it outside the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lmtui.engine.types import BosRule, ChatTurn, ScoredToken, Step


@dataclass(frozen=True, slots=True)
class KnownTokens:
    tokens: tuple[ScoredToken, ...] | tuple[Step, ...]
    before: tuple[int, ...]
    """The ids of the tokens the model read before them."""
    model: str
    """The label of the model; to another one the ids mean nothing."""


@dataclass(frozen=True, slots=True)
class InspectSource:
    name: str
    read: Callable[[], str] | None = None
    """Return the text, or raise an `LmtuiError`; None where there is no text."""
    known: KnownTokens | None = None
    """The tokens, where the text need not be tokenized."""
    after: tuple[ChatTurn, ...] | None = None
    """The messages before the text, where it is a message of a conversation."""
    selected: tuple[int, int] | None = None
    """The part of the text that is selected at first, in code points."""
    bos: BosRule = "auto"
    window: int | None = None
    stride: int | None = None
