"""Confidence and temperature: one scale, two names, as pure functions.

More confidence is a lower temperature: dividing the logits by less makes the
distribution sharper. The slider runs from flat (T 5) to sharp (T 0.05) on a log
scale; one step beyond is T 0, greedy. Knows no widget.
"""

from __future__ import annotations

import math

FLATTEST = 5.0
SHARPEST = 0.05
STEPS = 40
"""Steps between the two ends; each changes T by about a ninth."""
GREEDY = STEPS + 1
"""The end stop: always the most probable token."""


def temperature_at(step: int) -> float:
    """The temperature of a step from 0 (flat) to GREEDY, to three digits."""
    if step >= GREEDY:
        return 0.0
    share = max(0, step) / STEPS
    return float(f"{FLATTEST * (SHARPEST / FLATTEST) ** share:.3g}")


def position_of(temperature: float) -> float:
    """Where a temperature stands among the steps; between them for one of its own."""
    if temperature <= 0:
        return float(GREEDY)
    bounded = min(FLATTEST, max(SHARPEST, temperature))
    return STEPS * math.log(FLATTEST / bounded) / math.log(FLATTEST / SHARPEST)


def moved(temperature: float, by: int) -> float:
    """The next step in that direction, from any temperature."""
    place = position_of(temperature)
    near = round(place)
    if abs(place - near) < 0.05:  # three digits are not exactly on the scale
        step = near + by
    else:
        step = math.ceil(place) if by > 0 else math.floor(place)
    return temperature_at(min(GREEDY, max(0, step)))


def cell_of(temperature: float, width: int) -> int:
    """The cell of the knob on a track; the last one is the end stop alone."""
    if temperature <= 0:
        return width - 1
    return round(position_of(temperature) / STEPS * (width - 2))


def temperature_in(cell: int, width: int) -> float:
    """The temperature of a cell of the track."""
    if cell >= width - 1:
        return 0.0
    return temperature_at(round(max(0, cell) / max(1, width - 2) * STEPS))
