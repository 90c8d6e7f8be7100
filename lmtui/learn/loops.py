"""Loops: a text that ends in the same tokens again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LEAST = 12
"""Fewest tokens that count as a loop: a word said twice is none."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A part that is repeated up to the end of a text."""

    period: int
    """Tokens of the part."""
    covered: int
    """Tokens from where it begins to the end; the last repetition may be cut short."""

    @property
    def repeats(self) -> int:
        return self.covered // self.period


def find_loop(ids: Sequence[int]) -> Loop | None:
    """Return the loop that a text ends in: of all periods the one that covers most of
    the text, of equal ones the shortest. None where nothing is repeated whole, or the
    loop is shorter than 12 tokens."""
    loops = []
    for period in range(1, len(ids) // 2 + 1):
        start = len(ids) - period
        while start > 0 and ids[start - 1] == ids[start - 1 + period]:
            start -= 1
        loop = Loop(period, len(ids) - start)
        if loop.repeats >= 2 and loop.covered >= _LEAST:
            loops.append(loop)
    return max(loops, key=lambda loop: loop.covered, default=None)
