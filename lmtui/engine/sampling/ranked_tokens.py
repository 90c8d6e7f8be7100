"""Tokens that are left within the sampler's chain."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lmtui.engine.sampling.ranks import Ranking, SortKey, count_true

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
        self.floor: float | None = None
        """Least logit of all that are left, where these are all tokens from it on."""
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
        if count < len(self) and (self.is_everything or self.floor is not None):
            total = self.ranking.total(self.temperature, self.floor)
            return (self._scaled(count) - total).exp()
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
        if stop - start < len(self):
            self.floor = None
        self.stop = self.start + stop
        self.start += start

    def cut_below(self, floor: float) -> None:
        """Keep the tokens whose logit, before the temperature, is at least `floor`."""

        def above(values: Tensor) -> int:
            return count_true(values >= floor)

        look = min(FIRST_LOOK, len(self))
        found = above(self.values(look))
        if found == look < len(self) and self.start == 0:
            # Counted without a ranking: the next filter may need few of them.
            count = min(above(self.ranking.logits), len(self))
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
