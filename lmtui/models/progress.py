"""Progress reports of loading, fetching and converting models. Knows no progress
bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of work under way, sent from the thread that works."""

    what: str
    """What is being done, as a present participle: `fetching smollm2…`."""
    done: int | None = None
    """The amount done, or None where it can't be counted."""
    total: int | None = None
    """The whole amount, in the unit of `done`."""
    unit: str = "bytes"
    """The unit: `bytes`, or a plural noun."""
    warning: bool = False
    """Whether this is not a step but something the user should know; `what` is the
    sentence."""


OnProgress = Callable[[Progress], None]


def ignore(progress: Progress) -> None: ...


def counted(what: str, total: int, on_progress: OnProgress) -> Callable[[int], None]:
    """Return a function that reports how many of `total` bytes are there."""
    return lambda done: on_progress(Progress(what, min(done, total), total))
