"""Widget that draws the figure of an instrument.

Bars are drawn by the lines of the probability panel, so that they look and read the
same everywhere. Knows no instrument.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from textual.geometry import Size

from lmtui import notation, surprisal_scale
from lmtui.learn.chart_scale import ChartScale
from lmtui.learn.figure import (
    Bars,
    Cell,
    Chart,
    Column,
    Figure,
    Level,
    ShadedText,
    Table,
    Words,
)
from lmtui.text import visible_line, visible_token
from lmtui.tui.widgets.cells import pad_to
from lmtui.tui.widgets.chart import (
    ACROSS,
    DOWN,
    bridged,
    label_line,
    line_rows,
    runs,
)
from lmtui.tui.widgets.panel_lines import (
    PanelColumns,
    PanelRows,
    bar,
    rest_line,
    row_line,
)
from lmtui.tui.widgets.paragraphs import Paragraph, wrapped
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines

_GAP = 2  # cells between two columns
_LEAST_BAR = 6
_WIDEST_CELL = 28
_ROWS = 10
_LABEL = 7  # cells of a label of the y axis, with the space behind it


class FigureView(StyledLines):
    """Draws a figure, as high as it needs to be."""

    PREFIX = "figure--"
    DEFAULT_CSS = "\n".join(
        (
            "FigureView { width: 1fr; height: auto; color: $foreground; }",
            *(
                f"FigureView > .figure--{name} {{ {style} }}"
                for name, style in (
                    ("title", "color: $foreground; text-style: bold;"),
                    ("quiet", "color: $quiet;"),
                    ("token", "color: $foreground;"),
                    ("raw", "color: $prob-raw;"),
                    ("sampled", "color: $prob-sampled;"),
                    ("chosen", "color: $prob-chosen; text-style: bold;"),
                    ("cut", "color: $cut;"),
                    ("cursor", "color: $background; background: $accent;"
                     " text-style: bold;"),
                    ("strong", "color: $foreground; text-style: bold;"),
                    ("warning", "color: $warning;"),
                    ("success", "color: $success; text-style: bold;"),
                    ("line", "color: $loss-train;"),
                    ("surprise-0", "color: $surprise-0;"),
                    ("surprise-1", "color: $surprise-1;"),
                    ("surprise-2", "color: $surprise-2; text-style: underline;"),
                    ("surprise-3", "color: $surprise-3; text-style: bold underline;"),
                    ("surprise-4", "color: $surprise-4; text-style: reverse;"),
                    ("surprise-5", "color: $surprise-5; text-style: bold reverse;"),
                )
            ),
        )
    )  # fmt: skip

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._figure: Figure = ()
        self._laid_out: tuple[int, list[Line]] = (-1, [])
        self.marked: int | None = None
        """The line that has to be seen, if any."""

    def show(self, figure: Figure) -> None:
        before = len(self._laid_out[1])
        self._figure = tuple(figure)
        self._laid_out = (-1, [])
        self.refresh(layout=len(self._lines_at(self.size.width)) != before)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines_at(width))

    def lines(self, width: int, height: int) -> Sequence[Line]:
        return self._lines_at(width)

    def _lines_at(self, width: int) -> list[Line]:
        if self._laid_out[0] != width:
            self.marked = None
            lines: list[Line] = []
            for part in self._figure:
                if lines and (not isinstance(part, Table) or part.title):
                    lines.append([])
                if isinstance(part, Table) and part.at is not None:
                    self.marked = len(lines) + part.at + 1
                lines += part_lines(part, width)
            self._laid_out = (width, lines)
        return self._laid_out[1]


def part_lines(
    part: Words | Bars | Table | ShadedText | Chart, width: int
) -> Iterator[Line]:
    if width <= 0:
        return
    match part:
        case Words(text=text, tone=tone):
            for line in text.split("\n"):
                yield from wrapped(Paragraph(((visible_line(line), tone),)), width)
        case Bars():
            yield from _bars(part, width)
        case Table():
            yield from _table(part, width)
        case ShadedText():
            yield from _shaded(part, width)
        case Chart():
            yield from chart_lines(part, width)


def _bars(bars: Bars, width: int) -> Iterator[Line]:
    drawn = bars.rest_sampled_prob is not None
    pinned = [row.candidate for row in bars.pinned]
    probs = [row.prob for row in (*bars.rows, *pinned)]
    number = max((len(notation.chance(prob)) for prob in probs), default=0)
    columns = PanelColumns.of(width, drawn=drawn, number=max(6, number))
    ids = [row.id for row in bars.rows]
    yield [(pad_to(visible_line(bars.title), width), "title")]
    for row in bars.rows:
        yield row_line(row, columns, chosen=row.id == bars.chosen, cursor=False)
    rest = PanelRows(bars.rows, bars.rest_prob, bars.rest_sampled_prob)
    hidden = bars.chosen is not None and bars.chosen not in ids
    yield rest_line(rest, columns, chosen=hidden)
    for each in bars.pinned:
        name = visible_token(each.candidate.text)
        rank = pad_to(f"{name} rank {notation.count(each.rank)}", columns.token)
        mark, _, *rest_of_row = row_line(
            each.candidate, columns, chosen=False, cursor=False
        )
        yield [mark, (rank, "token"), *rest_of_row]
    yield from _note(bars.note, width)


def _note(note: str, width: int) -> Iterator[Line]:
    if note:
        yield from wrapped(Paragraph(((visible_line(note), "quiet"),)), width)


def _table(table: Table, width: int) -> Iterator[Line]:
    widths = _widths(table, width)
    if table.title:
        yield [(pad_to(visible_line(table.title), width), "title")]
    headings = [Cell(column.heading, tone="quiet") for column in table.columns]
    if any(column.heading for column in table.columns):
        yield _row(headings, table.columns, widths, marked=False)
    for number, cells in enumerate(table.rows):
        yield _row(cells, table.columns, widths, marked=number == table.at)
    yield from _note(table.note, width)


def _widths(table: Table, width: int) -> list[int]:
    """Return the width of each column: as wide as its texts, and the room that is left
    for those that grow."""
    needed = [
        max(
            [
                cell_len(visible_line(column.heading)),
                *(
                    min(_WIDEST_CELL, cell_len(visible_line(row[number].text)))
                    for row in table.rows
                ),
            ]
        )
        for number, column in enumerate(table.columns)
    ]
    growing = [n for n, column in enumerate(table.columns) if column.grows]
    left = width - sum(needed) - _GAP * (len(needed) - 1)
    for place, number in enumerate(growing):
        more = left // (len(growing) - place)
        needed[number] = max(_LEAST_BAR, needed[number] + more)
        left -= more
    return needed


def _row(
    cells: Sequence[Cell],
    columns: Sequence[Column],
    widths: Sequence[int],
    *,
    marked: bool,
) -> Line:
    parts: list[Part] = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        if parts:
            parts.append((" " * _GAP, "token"))
        parts += _cell(cell, column, width, marked=marked)
    return parts


def _cell(cell: Cell, column: Column, width: int, *, marked: bool) -> list[Part]:
    if cell.share is not None and not cell.text:
        return _bar(cell.share, cell.second, width)
    text = visible_line(cell.text)
    padded = text.rjust(width) if column.right else pad_to(text, width)
    if marked:
        return [(pad_to(padded, width), "cursor")]
    style: str = cell.tone or "token"
    if cell.surprisal is not None:
        style = f"surprise-{surprisal_scale.step(cell.surprisal, 'surprisal')}"
    return [(pad_to(padded, width), style)]


def _bar(share: float, second: float | None, width: int) -> list[Part]:
    """Return a bar; a second one is its lower half."""
    drawn = bar(share, second, width)
    # As far as the lower bar reaches, its colour covers that of the upper one.
    over = 0 if second is None else len(drawn.rstrip(" ▀▘"))
    return [(drawn[:over], "sampled"), (drawn[over:], "raw")]


def _shaded(shaded: ShadedText, width: int) -> Iterator[Line]:
    if shaded.title:
        yield [(pad_to(visible_line(shaded.title), width), "title")]
    parts = []
    for number, token in enumerate(shaded.tokens):
        step = surprisal_scale.step(token.surprisal, "surprisal")
        style = "cursor" if number == shaded.at else f"surprise-{step}"
        parts.append((visible_line(token.text), style))
    yield from wrapped(Paragraph(tuple(parts)), width)


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
