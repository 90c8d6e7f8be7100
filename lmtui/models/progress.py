"""How long work in this room says where it is.

Owns one small value. Knows nothing of bars: whoever listens draws them, or does
not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of work under way; reports come from the thread that works."""

    what: str
    """What is being done, as a present participle: `fetching smollm2…`."""
    done: int | None = None
    """How much is done, or None when it can't be counted."""
    total: int | None = None
    """How much there is in all, in the unit of `done`."""
    unit: str = "bytes"
    """What is counted: `bytes`, or a plural noun."""
    warning: bool = False
    """Not a step but something the user should know; `what` is the sentence."""
    unkept: bool = False
    """Whether that is something that can't be kept for the next start."""


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """Listen to nothing."""
