"""Dot plots of line charts and labels below them, as pure functions.

Knows no widget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.cells import cell_len

ACROSS, DOWN = 2, 4
"""Braille dots in a cell, horizontally and vertically."""

_RUNS = re.compile(r" +|[^ ]+")

# Bit of each Braille dot, by column and row. Unicode numbers three dots down the left
# column, three down the right one, then the bottom two:
# https://www.unicode.org/charts/PDF/U2800.pdf
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def line_rows(heights: Sequence[int | None], rows: int) -> list[str]:
    """Draw a line in Braille, `rows` cells high. `heights` has one value for each
    column of dots, in dots from the top; None interrupts the line. Steep parts are
    filled in. Cells without a dot are spaces."""
    cells = [[0] * (-(-len(heights) // ACROSS)) for _ in range(rows)]
    for column, height in _joined(heights):
        row, dot = divmod(min(rows * DOWN - 1, max(0, height)), DOWN)
        cells[row][column // ACROSS] |= _BITS[column % ACROSS][dot]
    return ["".join(chr(0x2800 + dots) if dots else " " for dots in row)
            for row in cells]  # fmt: skip


def runs(dots: str) -> list[str]:
    """Split a row of a line into runs of spaces and runs of Braille. Braille may come
    from another font than spaces. Where each run is a segment of its own, an exported
    picture of the screen keeps the runs aligned."""
    return _RUNS.findall(dots)


def _joined(heights: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """Yield all dots (column, height) of the line. A steep part between two columns is
    split halfway: each column draws its half."""
    before: int | None = None
    for column, height in enumerate(heights):
        if height is not None and before is not None:
            middle = (before + height) // 2
            for between in _towards(before, middle):
                yield column - 1, between
            for between in _towards(height, middle):
                if between != middle:
                    yield column, between
        if height is not None:
            yield column, height
        before = height


def _towards(start: int, end: int) -> range:
    return range(start, end + 1) if end >= start else range(start, end - 1, -1)


def label_line(labels: Sequence[tuple[int, str]], width: int) -> str:
    """Return a line of `width` cells at most with each label centred on its cell; a
    label that would touch the one before is left out."""
    line = ""
    for start, label in _placed(labels, width):
        if not line or start > len(line):
            line += " " * (start - len(line)) + label
    return line


def _placed(labels: Sequence[tuple[int, str]], width: int) -> Iterator[tuple[int, str]]:
    for cell, label in labels:
        start = min(cell - cell_len(label) // 2, width - cell_len(label))
        yield max(0, start), label


def bridged(values: Sequence[float | None]) -> list[float | None]:
    """Return the values with each inner gap (None) filled by linear interpolation."""
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    filled = list(values)
    for (left, low), (right, high) in pairwise(known):
        for place in range(left + 1, right):
            filled[place] = low + (high - low) * (place - left) / (right - left)
    return filled
