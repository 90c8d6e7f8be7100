"""Throttling of the engine thread's reports.

Gathers tokens, and drops progress reports that follow too closely, before they are
posted. Knows no thread and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

from textual.message import Message

from lmtui.models.progress import Progress
from lmtui.tui.engine.messages import ModelLoadProgressed, ModelLoadWarned

INTERVAL = 1 / 12
"""Seconds between two reports of the same work. Each is drawn whole, text and panel and
strip together: more of them would take the time that the model computes in."""

Post = Callable[[Message], object]
Clock = Callable[[], float]
"""Seconds since some moment, never going back."""


T = TypeVar("T")


class Batch(Generic[T]):
    """Tokens of one job: the first is reported at once, later ones together."""

    def __init__(
        self, report: Callable[[tuple[T, ...]], Message], post: Post, clock: Clock
    ) -> None:
        self._report, self._post, self._clock = report, post, clock
        self._tokens: list[T] = []
        self._due = -math.inf

    def add(self, token: T) -> None:
        """Keep a token, and report all that were kept if it is time."""
        self._tokens.append(token)
        if self._clock() >= self._due:
            self.flush()

    def flush(self) -> None:
        """Report what was kept, if anything."""
        if not self._tokens:
            return
        self._post(self._report(tuple(self._tokens)))
        self._tokens.clear()
        self._due = self._clock() + INTERVAL


class LoadReports:
    """Progress of one load: a new stage is reported at once, numbers at intervals."""

    def __init__(self, post: Post, clock: Clock) -> None:
        self._post, self._clock = post, clock
        self._what = ""
        self._due = -math.inf

    def report(self, progress: Progress) -> None:
        """Pass a report on, unless one like it has just been."""
        what, done, total = progress.what, progress.done, progress.total
        if progress.warning:
            self._post(ModelLoadWarned(what))
            return
        same = what == self._what and done != total
        if same and self._clock() < self._due:
            return
        self._what, self._due = what, self._clock() + INTERVAL
        self._post(ModelLoadProgressed(what, done, total, progress.unit))
