"""Lines of a chart: a curve in Braille, levels to compare it with, and two axes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.cells import cell_len

from lmtui.axis import ticks
from lmtui.learn.figure import Chart, Level
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import pad_to
from lmtui.tui.widgets.chart import (
    ACROSS,
    DOWN,
    bridged,
    label_line,
    line_rows,
    runs,
)
from lmtui.tui.widgets.styled_lines import Line, Part

_ROWS = 10
_LABEL = 7  # cells of a label of the y axis, with the space behind it


def chart_lines(chart: Chart, width: int) -> Iterator[Line]:
    """Yield the lines of a chart, `width` cells wide."""
    yield [(pad_to(visible_line(chart.title), width), "title")]
    names = max((cell_len(_name(level)) for level in chart.levels), default=0)
    plot = width - _LABEL - (names + 1 if names else 0)
    values = [y for _, y in chart.points] + [level.value for level in chart.levels]
    if plot < 2 * ACROSS or not values:
        return
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    low, high = low - 0.05 * span, high + 0.05 * span
    rows = _curve(chart, plot, low, high)
    marks = {_row_of(level.value, low, high): level for level in chart.levels}
    labels = {_row_of(value, low, high): text for value, text in ticks(low, high, 5)}
    for number, dots in enumerate(rows):
        label = labels.get(number, "").rjust(_LABEL - 1) + " "
        yield [(label, "quiet"), *_on_level(dots, marks.get(number))]
    yield [(" " * _LABEL + _x_axis(chart, plot), "quiet")]
    yield [(" " * _LABEL + f"{chart.x_label} →, {chart.y_label} ↑", "quiet")]


def _name(level: Level) -> str:
    return f"{visible_line(level.name)} {level.value:.2f}"


def _on_level(dots: str, level: Level | None) -> list[Part]:
    """Return a row of the curve, drawn over the line of a level if there is one."""
    parts = []
    for run in runs(dots):
        if run.isspace() and level is not None:
            parts.append(("┄" * len(run), "quiet"))
        else:
            parts.append((run, "line"))
    if level is not None:
        parts.append((f" {_name(level)}", "quiet"))
    return parts


def _row_of(value: float, low: float, high: float) -> int:
    return min(_ROWS - 1, max(0, int((high - value) / (high - low) * _ROWS)))


def _curve(chart: Chart, width: int, low: float, high: float) -> list[str]:
    """Return the rows of the curve."""
    columns = width * ACROSS
    heights: list[float | None] = [None] * columns
    first, last = _ends(chart)
    for x, y in chart.points:
        column = round((_scaled(chart, x) - first) / (last - first) * (columns - 1))
        heights[min(columns - 1, max(0, column))] = (high - y) / (high - low)
    dots = [
        None if each is None else int(each * _ROWS * DOWN) for each in bridged(heights)
    ]
    return line_rows(dots, _ROWS)


def _scaled(chart: Chart, x: float) -> float:
    return math.log10(x + 1) if chart.log_x else x


def _ends(chart: Chart) -> tuple[float, float]:
    xs = [_scaled(chart, x) for x, _ in chart.points] or [0.0]
    return min(xs), max(max(xs), min(xs) + 1e-9)


def _x_axis(chart: Chart, width: int) -> str:
    """Return the labels of the x axis."""
    first, last = _ends(chart)
    if not chart.points:
        return ""
    greatest = chart.points[-1][0]
    if chart.log_x:
        powers = range(int(math.log10(greatest + 1)) + 1)
        marks = [0, *(10**n for n in powers if 10**n <= greatest)]
        found = [(float(mark), f"{mark:,}") for mark in dict.fromkeys(marks)]
    else:
        found = ticks(chart.points[0][0], greatest, 5)
    placed = [
        (round((_scaled(chart, x) - first) / (last - first) * (width - 1)), text)
        for x, text in found
    ]
    return label_line(placed, width)
