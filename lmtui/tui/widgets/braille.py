"""A line of dots, eight to a cell.

Pure functions: heights in, rows of braille characters out. Knows no widget.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

ACROSS, DOWN = 2, 4
"""Dots of a cell."""

_RUNS = re.compile(r" +|[^ ]+")

# Unicode counts the dots of a cell down the left, down the right, then the last two:
# https://www.unicode.org/charts/PDF/U2800.pdf
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def line_rows(heights: Sequence[int | None], rows: int) -> list[str]:
    """A line through `heights`, one for each column of dots, in dots from above; None
    where it is interrupted. Steep parts are joined up; where there is no dot, there is
    a space."""
    cells = [[0] * (-(-len(heights) // ACROSS)) for _ in range(rows)]
    for column, height in _joined(heights):
        row, dot = divmod(min(rows * DOWN - 1, max(0, height)), DOWN)
        cells[row][column // ACROSS] |= _BITS[column % ACROSS][dot]
    return ["".join(chr(0x2800 + dots) if dots else " " for dots in row)
            for row in cells]  # fmt: skip


def runs(dots: str) -> list[str]:
    """A row of a line, cut where there is no dot. Braille may come from another font
    than spaces do: where each run of it stands alone, a picture of the screen puts all
    of them where they belong."""
    return _RUNS.findall(dots)


def _joined(heights: Sequence[int | None]) -> Iterator[tuple[int, int]]:
    """All dots of the line: half of a steep part belongs to either column."""
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
