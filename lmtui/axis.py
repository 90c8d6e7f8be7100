"""Round numbers for the axes of charts, as pure functions.

Knows no screen and no page.
"""

from __future__ import annotations

import math


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
        (place * step, f"{place * step + 0.0:,.{decimals}f}")
        for place in range(first, last + 1)
    ]


def whole_ticks(high: int, limit: int) -> list[int]:
    """Return round whole numbers from 0 to `high`."""
    step = max(1, round(round_step(max(1, high), limit)))
    return list(range(0, high + 1, step))
