"""Throttling of the worker's events, by time.

Knows no thread and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lmtui.models.progress import OnProgress, Progress

INTERVAL = 1 / 12
"""Seconds between two batches of the same request. Each is drawn whole, text and panel
and strip together: more of them would take the time that the model computes in."""

Clock = Callable[[], float]
"""Seconds since some moment, never going back."""


class Batcher:
    """Gathers values: the first is emitted at once, later ones together."""

    def __init__(self, emit: Callable[..., object], clock: Clock) -> None:
        self._emit, self._clock = emit, clock
        self._values: list[Any] = []
        self._due = -math.inf

    def add(self, value: Any) -> None:
        """Store a value, and emit all that are stored if it is time."""
        self._values.append(value)
        if self._clock() >= self._due:
            self.flush()

    def flush(self) -> None:
        if self._values:
            values, self._values = self._values, []
            self._emit(*values)
            self._due = self._clock() + INTERVAL


def throttled(report: OnProgress, clock: Clock) -> OnProgress:
    """Return a function that passes progress on: warnings and new stages at once,
    numbers at intervals."""
    stage, due = "", -math.inf

    def pass_on(progress: Progress) -> None:
        nonlocal stage, due
        if not progress.warning:
            same = progress.what == stage and progress.done != progress.total
            if same and clock() < due:
                return
            stage, due = progress.what, clock() + INTERVAL
        report(progress)

    return pass_on
