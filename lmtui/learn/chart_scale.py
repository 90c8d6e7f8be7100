"""Axes of a chart: where a value lies between its ends, and which values are named.

The screen and the handout draw by the same axes. Knows neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmtui.axis import ticks
from lmtui.learn.figure import Chart, Level

_MARGIN = 0.05  # of the range of y, above and below
_TICKS = 5  # of an axis, about


@dataclass(frozen=True, slots=True)
class ChartScale:
    """Ends of both axes of a chart that has something to draw."""

    points: tuple[tuple[float, float], ...]
    """The points that can be drawn: finite ones."""
    levels: tuple[Level, ...]
    """The levels that can be drawn."""
    log_x: bool
    left: float
    """Least x, scaled."""
    right: float
    low: float
    """Least y, with a margin."""
    high: float

    @classmethod
    def of(cls, chart: Chart) -> ChartScale | None:
        """Return the axes of a chart; None where there is nothing to draw."""
        points = tuple(p for p in chart.points if all(map(math.isfinite, p)))
        levels = tuple(each for each in chart.levels if math.isfinite(each.value))
        values = [*(y for _, y in points), *(level.value for level in levels)]
        if not values:
            return None
        low, high = min(values), max(values)
        margin = _MARGIN * ((high - low) or 1.0)
        xs = [_scaled(x, chart.log_x) for x, _ in points] or [0.0]
        right = max(max(xs), min(xs) + 1e-9)
        return cls(
            points=points,
            levels=levels,
            log_x=chart.log_x,
            left=min(xs),
            right=right,
            low=low - margin,
            high=high + margin,
        )

    def across(self, x: float) -> float:
        """Return how far to the right an x is: 0 is the left end, 1 the right one."""
        return (_scaled(x, self.log_x) - self.left) / (self.right - self.left)

    def down(self, y: float) -> float:
        """Return how far from the top a y is: 0 is the top, 1 the bottom."""
        return (self.high - y) / (self.high - self.low)

    def x_ticks(self) -> list[tuple[float, str]]:
        """Return round values of x with their labels."""
        if not self.points:
            return []
        greatest = self.points[-1][0]
        if not self.log_x:
            return ticks(self.points[0][0], greatest, _TICKS)
        powers = range(int(math.log10(greatest + 1)) + 1)
        marks = [0, *(10**n for n in powers if 10**n <= greatest)]
        return [(float(mark), f"{mark:,}") for mark in dict.fromkeys(marks)]

    def y_ticks(self) -> list[tuple[float, str]]:
        """Return round values of y with their labels."""
        return ticks(self.low, self.high, _TICKS)


def _scaled(x: float, log_x: bool) -> float:
    return math.log10(x + 1) if log_x else x
