"""Tokens that are left within the sampler's chain."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lmtui.engine.sampling.ranks import Ranking

FIRST_LOOK = 64
"""Tokens ranked before it is known whether more are needed."""
_WIDENING = 16


class RankedTokens:
    """Band of a ranking, at a temperature."""

    def __init__(self, ranking: Ranking, temperature: float, count: int) -> None:
        """`count` tokens can be drawn at first."""
        self.ranking = ranking
        self.temperature = temperature
        self.start, self.stop, self._all = 0, count, count
        self._probs: Tensor | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def is_everything(self) -> bool:
        """Whether nothing was removed yet."""
        return len(self) == self._all

    def probs(self, count: int) -> Tensor:
        """Return the probs of the first tokens that are left; float64 [count]."""
        if self._probs is not None:
            return self._probs[:count]
        if self.is_everything and count < len(self):
            scaled = self._scaled(count) - self.ranking.total(self.temperature)
            return scaled.exp()
        self._probs = self._scaled(len(self)).softmax(0)
        return self._probs[:count]

    def _scaled(self, count: int) -> Tensor:
        _, values = self.ranking.first(self.start + count)
        values = values.double()
        return (values[self.start :] - values[self.start]) / self.temperature

    def values(self, count: int) -> Tensor:
        """Return the logits of the first tokens that are left; float32 [count]."""
        return self.ranking.first(self.start + count)[1][self.start :]

    def heat(self, temperature: float) -> None:
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
        self.stop = self.start + stop
        self.start += start

    def count(
        self, count: Callable[[Tensor], int], column: Callable[[int], Tensor]
    ) -> int:
        """Return how many of the tokens that are left a filter counts, looking at as
        few of the values of `column` as it needs."""
        look = min(FIRST_LOOK, len(self))
        while True:
            found = count(column(look))
            if found < look or look == len(self):
                return found
            look = min(look * _WIDENING, len(self))
