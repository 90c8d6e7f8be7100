"""Charts as text: bars of quarter blocks, and a line of Braille dots between axes with
round numbers.

Pure functions. Knows no widget.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import cell_len

Part = tuple[str, str]
"""A text, and the name of its style."""

ACROSS, DOWN = 2, 4
"""Braille dots in a cell, horizontally and vertically."""
_NARROWEST = 0.1  # least from top to bottom, so that noise is not magnified
_GUTTER = 7  # least cells left of a plot: `epoch │`

# Keys: upper left, upper right, lower left, lower right.
_QUARTERS = {
    (False, False, False, False): " ",
    (True, False, False, False): "▘",
    (True, True, False, False): "▀",
    (False, False, True, False): "▖",
    (False, False, True, True): "▄",
    (True, False, True, False): "▌",
    (True, True, True, False): "▛",
    (True, False, True, True): "▙",
    (True, True, True, True): "█",
}
_RUNS = re.compile(r" +|[^ ]+")

# Bit of each Braille dot, by column and row. Unicode numbers three dots down the left
# column, three down the right one, then the bottom two:
# https://www.unicode.org/charts/PDF/U2800.pdf
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def bar(prob: float, sampled_prob: float | None, width: int) -> str:
    """Draw two bars in one line of quarter blocks, with a resolution of half a cell:
    above, the model's own probability; below, the one the sampler draws from."""
    above = _halves(prob, width)
    below = _halves(prob if sampled_prob is None else sampled_prob, width)
    full, end = min(above, below) // 2, (max(above, below) + 1) // 2
    between = "".join(
        _QUARTERS[above > 2 * cell, above > 2 * cell + 1,
                  below > 2 * cell, below > 2 * cell + 1]
        for cell in range(full, end)
    )  # fmt: skip
    return "█" * full + between + " " * (width - end)


def _halves(prob: float, width: int) -> int:
    if not math.isfinite(prob):
        return 0
    return round(2 * width * min(1.0, max(0.0, prob)))


def bar_parts(
    prob: float, sampled_prob: float | None, width: int
) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the same with the styles `sampled` and `raw`: as far as the lower bar
    reaches, its colour covers that of the upper one."""
    drawn = bar(prob, sampled_prob, width)
    over = 0 if sampled_prob is None else len(drawn.rstrip(" ▀▘"))
    return (drawn[:over], "sampled"), (drawn[over:], "raw")


def line_rows(heights: Sequence[int | None], rows: int) -> list[str]:
    """Draw a line in Braille, `rows` cells high. `heights` has one value for each
    column of dots, in dots from the top; None interrupts the line. Steep parts are
    filled in. Cells without a dot are spaces."""
    cells = [[0] * (-(-len(heights) // ACROSS)) for _ in range(rows)]
    for column, height in _dots(heights):
        row, dot = divmod(min(rows * DOWN - 1, max(0, height)), DOWN)
        cells[row][column // ACROSS] |= _BITS[column % ACROSS][dot]
    return ["".join(chr(0x2800 + dots) if dots else " " for dots in row)
            for row in cells]  # fmt: skip


def _dots(heights: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Yield all dots (column, height) of the line. A steep part between two columns is
    split halfway: each column draws its half."""
    previous: int | None = None
    for column, height in enumerate(heights):
        if height is not None and previous is not None:
            middle = (previous + height) // 2
            for dot_row in _towards(previous, middle):
                yield column - 1, dot_row
            for dot_row in _towards(height, middle):
                if dot_row != middle:
                    yield column, dot_row
        if height is not None:
            yield column, height
        previous = height


def _towards(start: int, end: int) -> range:
    return range(start, end + 1) if end >= start else range(start, end - 1, -1)


def label_line(labels: Sequence[tuple[int, str]], width: int) -> str:
    """Return a line of `width` cells at most with each label centred on its cell; a
    label that would touch the one before is left out."""
    line = ""
    for start, label in _label_starts(labels, width):
        if not line or start > len(line):
            line += " " * (start - len(line)) + label
    return line


def _label_starts(
    labels: Sequence[tuple[int, str]], width: int
) -> Iterator[tuple[int, str]]:
    for cell, label in labels:
        start = min(cell - cell_len(label) // 2, width - cell_len(label))
        yield max(0, start), label


def bridged(values: Sequence[float | None]) -> list[float | None]:
    """Return the values with each inner gap (None) filled by linear interpolation."""
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    filled = list(values)
    for (left, low), (right, high) in pairwise(known):
        for index in range(left + 1, right):
            filled[index] = low + (high - low) * (index - left) / (right - left)
    return filled


def round_step(span: float, limit: int) -> float:
    """Return the smallest of 1, 2 or 5 times a power of ten that fits into `span` at
    most `limit` times. `span` is more than 0."""
    wanted = span / max(1, limit)
    power: float = 10.0 ** math.floor(math.log10(wanted))
    return next(
        step * power for step in (1, 2, 5, 10, 20) if step * power >= wanted * 0.999999
    )


def ticks(low: float, high: float, limit: int) -> list[tuple[float, str]]:
    """Return round numbers from `low` to `high`, about `limit` at most, with labels."""
    if not high > low:
        return []
    step = round_step(high - low, limit)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        (number * step, f"{number * step + 0.0:,.{decimals}f}")
        for number in range(first, last + 1)
    ]


def whole_ticks(high: int, limit: int) -> list[int]:
    """Return round whole numbers from 0 to `high`."""
    step = max(1, round(round_step(max(1, high), limit)))
    return list(range(0, high + 1, step))


# Line charts.


@dataclass(frozen=True, slots=True)
class Axes:
    """The mapping of values to a plot of `rows` lines, with its labels on the left."""

    low: float
    """The value at the bottom, and below it at the top, left and right."""
    high: float
    left: float
    right: float
    room: int
    """Cells of the plot and of its labels."""
    rows: int
    labels: Sequence[tuple[float, str]] = ()
    """Values with their texts, on the left."""

    @property
    def gutter(self) -> int:
        """Cells left of the plot."""
        return max(_GUTTER, *(cell_len(text) + 2 for _, text in self.labels), 0)

    @property
    def width(self) -> int:
        """Cells of the plot."""
        return self.room - self.gutter

    def row(self, value: float) -> int:
        """Return the lines from the top."""
        return self.dot(value) // DOWN

    def dot(self, value: float) -> int:
        """Return the Braille dots from the top."""
        share = (self.high - value) / (self.high - self.low)
        return min(self.rows * DOWN - 1, max(0, round(share * (self.rows * DOWN - 1))))

    def cell(self, x: float) -> int:
        """Return the cells from the left."""
        return self.column(x) // ACROSS

    def column(self, x: float) -> int:
        """Return the Braille dots from the left."""
        last = self.width * ACROSS - 1
        share = (x - self.left) / (self.right - self.left)
        return min(last, max(0, round(share * last)))


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis for these values, with some room at both."""
    low, high = min(values), max(values)
    spare = max(0.04 * (high - low), (_NARROWEST - (high - low)) / 2)
    return low - spare, high + spare


def plot_lines(
    values: Sequence[float | None],
    axes: Axes,
    marks: Mapping[tuple[int, int], Part],
) -> Iterator[list[Part]]:
    """Yield the lines of a plot: `values`, one for each Braille column, as a `line`;
    over it, signs by their row and cell."""
    heights = [None if value is None else axes.dot(value) for value in values]
    names = {axes.row(value): text for value, text in axes.labels}
    for row, dots in enumerate(line_rows(heights, axes.rows)):
        name = names.get(row, "")
        parts = [(f"{name:>{axes.gutter - 2}} {'┤' if name else '│'}", "quiet")]
        start = 0
        for cell in sorted(cell for line, cell in marks if line == row):
            parts += [*_styled(dots[start:cell]), marks[row, cell]]
            start = cell + 1
        yield [*parts, *_styled(dots[start:])]


def _styled(dots: str) -> list[Part]:
    """Split a row of a line into runs of spaces and runs of Braille. Braille may come
    from another font than spaces. Where each run is a segment of its own, an exported
    picture of the screen keeps the runs aligned."""
    return [(run, "" if run.isspace() else "line") for run in _RUNS.findall(dots)]


def axis_lines(name: str, labels: Mapping[int, str], axes: Axes) -> list[list[Part]]:
    """Return the line below a plot and that of its labels, each given by its cell."""
    axis = "".join("┬" if cell in labels else "─" for cell in range(axes.width))
    shown = label_line(sorted(labels.items()), axes.width)
    return [
        [(f"{'└':>{axes.gutter}}{axis}", "quiet")],
        [(f"{name:<{axes.gutter}}{shown}", "quiet")],
    ]
