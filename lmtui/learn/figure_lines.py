"""The drawing of a figure: lines of styled texts for a width, and sentences.

The screen shows the lines. The sentences, for shells and screen readers,
say the same without bars, colours and positions: each number with its heading. Whatever
a terminal would obey is made visible. Knows no instrument.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from lmtui import notation, surprisal_scale
from lmtui.chart import (
    ACROSS,
    Axes,
    axis_lines,
    bar_parts,
    bounds,
    bridged,
    plot_lines,
    ticks,
)
from lmtui.learn.figure import (
    Cell,
    Chart,
    Column,
    Figure,
    Part,
    ShadedText,
    Table,
    Words,
)
from lmtui.text import visible_flow, visible_line, visible_token

Line = list[tuple[str, str]]
"""Texts, each with the name of its style."""

_GAP = 2  # cells between two columns
_WIDEST_CELL = 28
_LEAST_BAR, _LEAST_TEXT = 6, 24
"""Least cells of a column that grows: with bars, with texts."""
_ROWS = 10  # lines of a chart
_CUT = "…"
"""At the end of a bar that goes on."""
_LEAST_ROOM = 24  # cells of a chart without the names of its levels
_TICKS = 5  # of an axis, about
_POINTS = 12  # of a chart that are written out, about
_CONSOLE = Console()


def figure_lines(figure: Figure, width: int) -> list[Line]:
    """Draw a figure in at most `width` cells."""
    lines: list[Line] = []
    for part in figure if width > 0 else ():
        if lines and (not isinstance(part, Table) or part.title):
            lines.append([])
        match part:
            case Words(text=text, tone=tone):
                for line in text.split("\n"):
                    lines += _wrapped(line, tone or "token", width)
            case Table():
                lines += _table(part, width)
            case ShadedText():
                lines += _shaded(part, width)
            case Chart():
                lines += _chart(part, width)
    return lines


def figure_text(figure: Figure) -> Iterator[str]:
    """Yield a figure as lines of plain text, with an empty one between two parts."""
    for number, part in enumerate(figure):
        if number:
            yield ""
        yield from _part_text(part)


def _part_text(part: Part) -> Iterator[str]:
    if isinstance(part, Words):
        yield from visible_flow(part.text).split("\n")
        return
    if part.title:
        yield visible_line(part.title)
    match part:
        case Table():
            yield from _row_texts(part)
            if part.note:
                yield visible_line(part.note)
        case ShadedText():
            for token in part.tokens:
                bits = notation.surprisal(token.logprob)
                yield f"{visible_token(token.text)}: {bits} bits"
        case Chart():
            yield from _chart_text(part)


def _wrapped(text: str, style: str, width: int) -> Iterator[Line]:
    return _wrap([(visible_line(text), style)], width)


def _wrap(pieces: Line, width: int) -> Iterator[Line]:
    for line in Text.assemble(*pieces).wrap(_CONSOLE, width):
        yield [(line.plain[s.start : s.end], str(s.style)) for s in line.spans]


# Tables.


def _table(table: Table, width: int) -> Iterator[Line]:
    if table.title:
        yield from _wrapped(table.title, "title", width)
    # Bars are left out first; what still does not fit is a sentence a row.
    form = table if _widths(table, width) else _without_bars(table)
    widths = _widths(form, width)
    if widths is None:
        for number, text in enumerate(_row_texts(table)):
            style = "cursor" if number == table.at else "token"
            first, *others = _wrapped(text, style, width - _GAP)
            yield first
            yield from ([(" " * _GAP, "token"), *line] for line in others)
    else:
        if any(column.heading for column in table.columns):
            heads = [Cell(column.heading, "quiet") for column in form.columns]
            yield _row(heads, form.columns, widths, table.longest)
        for number, cells in enumerate(form.rows):
            marked = number == table.at
            yield _row(cells, form.columns, widths, table.longest, marked=marked)
    if table.note:
        yield from _wrapped(table.note, "quiet", width)


def _without_bars(table: Table) -> Table:
    """Return a table without its columns of bars, whose numbers stand in others."""
    shown = [
        number
        for number in range(len(table.columns))
        if not any(cells[number].bar for cells in table.rows)
    ]
    columns = tuple(table.columns[number] for number in shown)
    rows = tuple(tuple(cells[number] for number in shown) for cells in table.rows)
    return replace(table, columns=columns, rows=rows)


def _row_texts(table: Table) -> Iterator[str]:
    """Yield each row as a sentence: its name, and its numbers with their headings. What
    a bar shows stands in another cell as a number."""
    for number, cells in enumerate(table.rows):
        name, *others = (
            (f"{column.heading} " if column.heading else "") + visible_line(cell.text)
            for column, cell in zip(table.columns, cells, strict=True)
            if cell.text
        )
        mark = "> " if number == table.at else ""
        yield f"{mark}{name}: {', '.join(others)}" if others else f"{mark}{name}"


def _widths(table: Table, width: int) -> list[int] | None:
    """Return the width of each column: as wide as its texts, and the room that is left
    for those that grow. None where they do not fit."""
    widths = []
    for number, column in enumerate(table.columns):
        texts = (column.heading, *(cells[number].text for cells in table.rows))
        widest = max(cell_len(visible_line(text)) for text in texts)
        is_bar = any(cells[number].bar for cells in table.rows)
        least = _LEAST_BAR if is_bar else 0
        widths.append(
            max(least, min(widest, _LEAST_TEXT if column.grows else _WIDEST_CELL))
        )
    room = width - sum(widths) - _GAP * (len(widths) - 1)
    growing = [n for n, column in enumerate(table.columns) if column.grows]
    for number in growing:
        widths[number] += room // len(growing)
    return widths if room >= 0 else None


def _row(
    cells: Sequence[Cell],
    columns: Sequence[Column],
    widths: Sequence[int],
    longest: float,
    *,
    marked: bool = False,
) -> Line:
    line: Line = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        line += [(" " * _GAP, "token")] if line else []
        if cell.bar:
            above, *below = (length / longest for length in cell.bar)
            cut = _CUT if max(cell.bar) > longest else ""
            room = width - len(cut)
            line += bar_parts(above, below[0] if below else None, room)
            line.append((cut, "quiet"))
        else:
            text = _fit(visible_line(cell.text), width, right=column.right)
            line.append((text, "cursor" if marked else cell.tone or "token"))
    return line


def _fit(text: str, width: int, *, right: bool) -> str:
    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1)}…"
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


# Shaded text.


def _shaded(shaded: ShadedText, width: int) -> Iterator[Line]:
    if shaded.title:
        yield from _wrapped(shaded.title, "title", width)
    pieces = []
    for token in shaded.tokens:
        step = surprisal_scale.surprisal_step(token.logprob)
        pieces.append((visible_line(token.text), f"surprise-{step}"))
    yield from _wrap(pieces, width)


# Charts.


def _chart(chart: Chart, width: int) -> Iterator[Line]:
    yield from _wrapped(chart.title, "title", width)
    values = [y for _, y in (*chart.points, *chart.levels)]
    names = [f" {_level_text(*level)}" for level in chart.levels]
    room = width - max(map(cell_len, names), default=0)
    if room < _LEAST_ROOM or not values:
        for text in _chart_text(chart):
            yield from _wrapped(text, "token", width)
        return
    # 1) the ends of both axes
    low, high = bounds(values)
    xs = [math.log10(x + 1) for x, _ in chart.points]
    right = max([*xs, 1e-9])
    axes = Axes(low, high, 0, right, room, _ROWS, ticks(low, high, _TICKS))
    # 2) the curve, in Braille dots, over the levels
    heights: list[float | None] = [None] * (axes.width * ACROSS)
    for x, (_, y) in zip(xs, chart.points, strict=True):
        heights[axes.column(x)] = y
    rows = [axes.row(y) for _, y in chart.levels]
    marks = dict(zip(rows, names, strict=True))
    for number, (label, *curve) in enumerate(plot_lines(bridged(heights), axes, {})):
        if number not in marks:
            yield [label, *curve]
            continue
        level = ((text.replace(" ", "┄"), style or "quiet") for text, style in curve)
        yield [label, *level, (marks[number], "quiet")]
    # 3) the x axis
    last = chart.points[-1][0] if chart.points else 0
    decades = (x for x in (0, *(10**n for n in range(9))) if x <= last)
    at = {axes.cell(math.log10(x + 1)): f"{x:,}" for x in decades}
    yield from axis_lines(chart.x_label, at, axes)


def _level_text(name: str, value: float) -> str:
    return f"{visible_line(name)} {notation.rate(value)}"


def _chart_text(chart: Chart) -> Iterator[str]:
    yield from (f"line of {_level_text(*level)}" for level in chart.levels)
    points = chart.points
    few = points[:: math.ceil(len(points) / _POINTS) or 1]
    for x, y in few if few[-1:] == points[-1:] else [*few, points[-1]]:
        at = notation.number(x, ",g")
        yield f"{chart.x_label} {at}: {chart.y_label} {notation.rate(y)}"
