"""A chart as an SVG drawing inside a page: its line, its levels, two axes.

Colours and fonts are the page's; positions are attributes, so that no style stands in
an element. Knows no instrument.
"""

from __future__ import annotations

from collections.abc import Iterator

from lmtui import notation
from lmtui.html_page import shown
from lmtui.learn.chart_scale import ChartScale
from lmtui.learn.figure import Chart, Level

_WIDTH, _HEIGHT = 480, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 466, 24, 236  # ends of the plot
_FEW = 40
"""Most points that are drawn as dots, too."""
_NAME = 32
"""Most characters of the name of a level; the lines of text have all of it."""
_LINE = 14
"""Height of a line of text."""


def chart_svg(chart: Chart) -> str:
    """Return the drawing of a chart; empty where it has nothing to draw."""
    scale = ChartScale.of(chart)
    if scale is None:
        return ""
    name = f"{chart.title}: {chart.y_label} by {chart.x_label}"
    parts = [*_axes(chart, scale), *_levels(scale), *_curve(scale)]
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{shown(name)}">{"".join(parts)}</svg>'
    )


def _x(scale: ChartScale, x: float) -> float:
    return round(_LEFT + scale.across(x) * (_RIGHT - _LEFT), 1)


def _y(scale: ChartScale, y: float) -> float:
    return round(_TOP + scale.down(y) * (_BOTTOM - _TOP), 1)


def _axes(chart: Chart, scale: ChartScale) -> Iterator[str]:
    for value, label in scale.y_ticks():
        at = _y(scale, value)
        yield _line("grid", _LEFT, at, _RIGHT, at)
        yield _text("end", _LEFT - 6, at + 4, label)
    for value, label in scale.x_ticks():
        at = _x(scale, value)
        yield _line("tick", at, _BOTTOM, at, _BOTTOM + 5)
        yield _text("middle", at, _BOTTOM + 18, label)
    yield _line("axis", _LEFT, _BOTTOM, _RIGHT, _BOTTOM)
    yield _line("axis", _LEFT, _TOP, _LEFT, _BOTTOM)
    yield _text("middle", (_LEFT + _RIGHT) / 2, _HEIGHT - 8, f"{chart.x_label} →")
    yield _text("start", 4, 12, f"{chart.y_label} ↑")


def _levels(scale: ChartScale) -> Iterator[str]:
    """Yield the levels with their names, moved apart where they would touch."""
    above = float(_TOP - _LINE)
    for level in sorted(scale.levels, key=lambda each: -each.value):
        at = _y(scale, level.value)
        yield _line("level", _LEFT, at, _RIGHT, at)
        above = max(at - 4, above + _LINE)
        yield _text("end", _RIGHT, above, _name(level))


def _name(level: Level) -> str:
    name = level.name if len(level.name) <= _NAME else f"{level.name[: _NAME - 1]}…"
    return f"{name} {notation.rate(level.value)}"


def _curve(scale: ChartScale) -> Iterator[str]:
    places = [(_x(scale, x), _y(scale, y)) for x, y in scale.points]
    if len(places) > 1:
        drawn = " ".join(f"{x:g},{y:g}" for x, y in places)
        yield f'<polyline class="curve" points="{drawn}"/>'
    if len(places) <= _FEW:
        for x, y in places:
            yield f'<circle class="dot" cx="{x:g}" cy="{y:g}" r="2.5"/>'


def _line(name: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{name}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def _text(anchor: str, x: float, y: float, text: str) -> str:
    return f'<text text-anchor="{anchor}" x="{x:g}" y="{y:g}">{shown(text)}</text>'
