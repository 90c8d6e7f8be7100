"""The training loss of a run, smoothed, in as many columns as are drawn."""

from __future__ import annotations

import math
from bisect import bisect_left

from lmtui.chart import bridged

EMA_WEIGHT = 0.9
"""Weight of the previous average at each step: averages over about ten steps."""


class SmoothedLoss:
    """An exponential moving average of the losses, by step."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._averages: list[float] = []
        self._sums = [0.0]  # prefix sums of the smoothed losses

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: int, loss: float) -> None:
        """Add the loss of a later step, in nats. Losses that are not finite are left
        out, and so are steps that are not later than the last one."""
        if not math.isfinite(loss) or (self._steps and step <= self._steps[-1]):
            return
        before = self._averages[-1] if self._averages else 0.0
        self._steps.append(step)
        self._averages.append(EMA_WEIGHT * before + (1 - EMA_WEIGHT) * loss)
        self._sums.append(self._sums[-1] + self._smoothed(len(self._steps) - 1))

    @property
    def last(self) -> float | None:
        """The smoothed loss at the last step; None before the first."""
        return self._smoothed(len(self) - 1) if self._steps else None

    def _smoothed(self, index: int) -> float:
        # Bias correction: the average begins at 0, dividing by the sum of the weights
        # removes that. Kingma and Ba, "Adam" (2015), section 3.
        weights: float = 1 - EMA_WEIGHT ** (index + 1)
        return self._averages[index] / weights

    @property
    def end(self) -> int:
        """The last step; 0 before the first."""
        return self._steps[-1] if self._steps else 0

    def columns(self, last: int, count: int) -> list[float | None]:
        """Return the smoothed loss from step 0 to `last` in `count` columns: the mean
        where several steps share a column, linear interpolation where a column has
        none."""
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
