"""The surprisal of a whole reply in a bounded space.

Owns the columns (the greatest surprisal among neighbours) and the running totals.
Taking a token costs the same whatever came before; drawing costs the width. Knows no
widget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from lmtui.notation import bits

CAPACITY = 512
"""Columns kept at most; wider than a terminal is rarely."""

BLOCKS = " ▁▂▃▄▅▆▇█"
"""A column from nothing to full, in eighths."""


class History:
    """Maxima of runs of tokens; the runs double when the room is used up."""

    def __init__(self) -> None:
        self.tokens = 0
        self.scored = 0
        self.logprob = 0.0
        """Sum over the scored tokens, in nats."""
        self._run = 1
        self._columns: list[float] = []

    def add(self, logprob: float | None) -> None:
        """Take the next token; one without a logprob has no height and no part in the
        totals."""
        known = logprob is not None and math.isfinite(logprob)
        height = bits(logprob) if logprob is not None and known else 0.0
        if self.tokens // self._run < len(self._columns):
            self._columns[-1] = max(self._columns[-1], height)
        else:
            self._columns.append(height)
        self.tokens += 1
        if logprob is not None and known:
            self.scored += 1
            self.logprob += logprob
        if len(self._columns) > CAPACITY:
            self._double()

    def _double(self) -> None:
        pairs = zip(self._columns[::2], [*self._columns[1::2], 0.0], strict=False)
        self._columns = [max(pair) for pair in pairs]
        self._run *= 2

    def columns(self, width: int) -> list[float]:
        """The whole history in at most `width` columns, in bits."""
        return squeeze(self._columns, width)

    @property
    def mean_nll(self) -> float | None:
        """Mean of -log P over the scored tokens, in nats."""
        return -self.logprob / self.scored if self.scored else None

    @property
    def perplexity(self) -> float | None:
        """exp of the mean; None without tokens or where it is no finite number."""
        mean = self.mean_nll
        return math.exp(mean) if mean is not None and mean < 700 else None


def squeeze(values: Sequence[float], width: int) -> list[float]:
    """At most `width` columns, each the greatest of its neighbours."""
    if len(values) <= width or width <= 0:
        return list(values) if width > 0 else []
    starts = [-(-place * len(values) // width) for place in range(width + 1)]
    return [max(values[start:end]) for start, end in pairwise(starts)]


def block(value: float, row: int, *, per_row: float) -> str:
    """The character of a column in one row, counted from below; what is not nothing
    shows at least an eighth."""
    eighths = math.ceil((value - row * per_row) / per_row * 8)
    return BLOCKS[min(8, max(0, eighths, 1 if row == 0 else 0))]
