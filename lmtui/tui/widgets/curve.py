"""The training loss of a whole run, smoothed, in as many columns as are drawn.

Owns the smoothing, and that drawing costs the width of the picture, not the length of
the run. Knows no widget.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

KEPT = 0.9
"""Share of the average before that stays at each step: it spans about ten steps."""


class Curve:
    """A moving average of the losses, by step."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._averages: list[float] = []
        self._sums = [0.0]  # of the smoothed values before each point

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: int, loss: float) -> None:
        """Take the loss of a later step, in nats; what is no number is left out."""
        if not math.isfinite(loss) or (self._steps and step <= self._steps[-1]):
            return
        before = self._averages[-1] if self._averages else 0.0
        self._steps.append(step)
        self._averages.append(KEPT * before + (1 - KEPT) * loss)
        self._sums.append(self._sums[-1] + self._smoothed(len(self._steps) - 1))

    def cut(self, step: int) -> None:
        """Forget what came after a step."""
        stay = bisect_right(self._steps, step)
        del self._steps[stay:], self._averages[stay:], self._sums[stay + 1 :]

    @property
    def last(self) -> float | None:
        """The smoothed loss now."""
        return self._smoothed(len(self) - 1) if self._steps else None

    def _smoothed(self, place: int) -> float:
        # The average begins at 0; dividing by its weights takes that out again, as in
        # Kingma and Ba, "Adam" (2015), section 3.
        weights: float = 1 - KEPT ** (place + 1)
        return self._averages[place] / weights

    @property
    def end(self) -> int:
        """The last step; 0 before the first."""
        return self._steps[-1] if self._steps else 0

    def columns(self, last: int, count: int) -> list[float | None]:
        """The smoothed loss from step 0 to `last` in `count` columns: the mean where
        several steps share one, a straight line where a column has none."""
        if count < 2 or last < 1:
            return [None] * count
        across = last / (count - 1)
        edges = [bisect_left(self._steps, (column - 0.5) * across)
                 for column in range(count + 1)]  # fmt: skip
        means = [self._mean(*edges[column : column + 2]) for column in range(count)]
        return bridged(means)

    def _mean(self, first: int, end: int) -> float | None:
        if first == end:
            return None
        return (self._sums[end] - self._sums[first]) / (end - first)


def bridged(values: Sequence[float | None]) -> list[float | None]:
    """The values with a straight line over each gap between two of them."""
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    filled = list(values)
    for (left, low), (right, high) in pairwise(known):
        for place in range(left + 1, right):
            filled[place] = low + (high - low) * (place - left) / (right - left)
    return filled
