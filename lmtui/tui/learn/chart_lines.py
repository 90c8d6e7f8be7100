"""Lines of a chart: a curve in Braille, levels to compare it with, and two axes."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len

from lmtui.learn.chart_scale import ChartScale
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
    scale = ChartScale.of(chart)
    if plot < 2 * ACROSS or scale is None:
        return
    marks = {_row_of(level.value, scale): level for level in scale.levels}
    labels = {_row_of(value, scale): text for value, text in scale.y_ticks()}
    for number, dots in enumerate(_curve(scale, plot)):
        label = labels.get(number, "").rjust(_LABEL - 1) + " "
        yield [(label, "quiet"), *_on_level(dots, marks.get(number))]
    placed = [
        (round(scale.across(x) * (plot - 1)), text) for x, text in scale.x_ticks()
    ]
    yield [(" " * _LABEL + label_line(placed, plot), "quiet")]
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


def _row_of(value: float, scale: ChartScale) -> int:
    return min(_ROWS - 1, max(0, int(scale.down(value) * _ROWS)))


def _curve(scale: ChartScale, width: int) -> list[str]:
    columns = width * ACROSS
    heights: list[float | None] = [None] * columns
    for x, y in scale.points:
        column = round(scale.across(x) * (columns - 1))
        heights[min(columns - 1, max(0, column))] = scale.down(y)
    dots = [
        None if each is None else int(each * _ROWS * DOWN) for each in bridged(heights)
    ]
    return line_rows(dots, _ROWS)
