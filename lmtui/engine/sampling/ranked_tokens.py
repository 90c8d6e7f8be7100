"""Tokens that are left within the sampler's chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmtui.engine.sampling.ranks import LEAST, Ranking, SortKey, count_from

Probs = NDArray[np.float64]

FIRST_LOOK = 64
"""Tokens ranked before it is known whether more are needed."""
_WIDENING = 16
_SHARP = 1e-250  # temperature below which differences of logits may overflow


class RankedTokens:
    """Band of a ranking, at a temperature."""

    def __init__(self, ranking: Ranking, temperature: float, count: int) -> None:
        """`count` tokens can be drawn at first."""
        self.ranking = ranking
        self.temperature = temperature
        self.start, self.stop, self._all = 0, count, count
        self.floor: float | None = None
        """Least logit of all that are left, where these are all tokens from it on."""
        self._probs: Probs | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def is_everything(self) -> bool:
        return len(self) == self._all

    def probs(self, count: int) -> Probs:
        """Return the probs of the first tokens that are left; float64 [count]."""
        if self._probs is not None:
            return self._probs[:count]
        if count < len(self) and (self.is_everything or self.floor is not None):
            total = self.ranking.total(self.temperature, self.floor)
            return np.exp(self._scaled(count) - total)
        weights = np.exp(self._scaled(len(self)))
        self._probs = weights / weights.sum()
        return self._probs[:count]

    def _scaled(self, count: int) -> Probs:
        """Return the logits of the first tokens that are left, divided by the
        temperature, less the greatest of them; float64 [count]."""
        values: Probs = self.values(count).astype(np.float64)
        values -= values[0]
        if self.temperature > _SHARP:
            values /= self.temperature
            return values
        with np.errstate(over="ignore"):
            values /= self.temperature
        return values

    def values(self, count: int) -> NDArray[np.float32]:
        """Return the logits of the first tokens that are left; float32 [count]."""
        return self.ranking.first(self.start + count)[1][self.start :]

    def apply_temperature(self, temperature: float) -> None:
        """Divide all logits by a temperature; 0 keeps the first token."""
        if temperature == 0:
            self.cut_to(0, 1)
        elif temperature != 1:
            self.temperature *= temperature
            self._probs = None

    def cut_to(self, start: int, stop: int) -> None:
        """Keep the tokens from index `start` up to `stop` of those that are left."""
        if self._probs is not None:
            part = self._probs[:stop]
            # Without the first tokens, the others may be too small to be divided.
            self._probs = part / part.sum() if start == 0 else None
        if stop - start < len(self):
            self.floor = None
        self.stop = self.start + stop
        self.start += start

    def cut_below(self, floor: float) -> None:
        """Keep the tokens whose logit, before the temperature, is at least `floor`."""

        def above(values: NDArray[np.float32]) -> int:
            return int(np.count_nonzero(values >= floor))

        floor = max(floor, LEAST)
        look = min(FIRST_LOOK, len(self))
        kept_count = above(self.values(look))
        if kept_count == look < len(self) and self.start == 0:
            # Counted without a ranking: the next filter may need few of them.
            count = min(count_from(self.ranking.logits, floor), len(self))
            if count < len(self):
                self.stop, self.floor, self._probs = count, floor, None
        else:
            self.cut_to(0, self.count(above, self.values))

    def last_key(self) -> SortKey:
        """Return the sort key of the last token that is left, or the one of its
        floor."""
        if self.floor is not None:
            return -self.floor, self.ranking.logits.numel()
        return self.ranking.key(self.stop - 1)

    def count(
        self,
        count: Callable[[NDArray[Any]], int],
        column: Callable[[int], NDArray[Any]],
    ) -> int:
        """Return how many of the tokens that are left a filter counts, looking at as
        few of the values of `column` as it needs."""
        look = min(FIRST_LOOK, len(self))
        while True:
            kept_count = count(column(look))
            if kept_count < look or look == len(self):
                return kept_count
            look = min(look * _WIDENING, len(self))
