"""The numbers along an axis: round ones, not too many, none on another.

Pure functions. Knows no widget.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.cells import cell_len


def round_step(span: float, most: int) -> float:
    """The least of 1, 2, 5 times a power of ten that fits into `span` at most so many
    times; `span` is more than 0."""
    wanted = span / max(1, most)
    power: float = 10.0 ** math.floor(math.log10(wanted))
    return next(
        step * power for step in (1, 2, 5, 10, 20) if step * power >= wanted * 0.999999
    )


def ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Round numbers from `low` to `high` and how each is written."""
    if not high > low:
        return []
    step = round_step(high - low, most)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [
        (place * step, f"{place * step + 0.0:,.{decimals}f}")
        for place in range(first, last + 1)
    ]


def whole_ticks(high: int, most: int) -> list[int]:
    """Round whole numbers from 0 to `high`."""
    step = max(1, round(round_step(max(1, high), most)))
    return list(range(0, high + 1, step))


def label_line(labels: Sequence[tuple[int, str]], width: int) -> str:
    """Each label around its cell, as far as the line goes; one that would touch the
    one before is left out."""
    line = ""
    for start, label in _placed(labels, width):
        if not line or start > len(line):
            line += " " * (start - len(line)) + label
    return line


def _placed(labels: Sequence[tuple[int, str]], width: int) -> Iterator[tuple[int, str]]:
    for cell, label in labels:
        start = min(cell - cell_len(label) // 2, width - cell_len(label))
        yield max(0, start), label
