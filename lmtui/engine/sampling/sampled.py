"""Distribution that the sampler draws from, with the stage that cut each token.

V is the size of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from lmtui.engine.sampling.ranks import SortKey
from lmtui.engine.types import Mark

Changes = tuple[tuple[Mark, Container[int]], ...]


@dataclass(frozen=True, slots=True)
class Band:
    """What a filter kept of a ranking: consecutive tokens."""

    mark: Mark
    ranking: int
    """Index of the ranking among those of the chain."""
    first: SortKey | None
    """Sort key of the first token that it kept; None where that is the ranking's."""
    last: SortKey
    """Sort key of the last one."""

    def holds(self, key: SortKey) -> bool:
        return key <= self.last and (self.first is None or self.first <= key)


@dataclass(frozen=True, slots=True)
class SampledDistribution:
    """Distribution that is drawn from: the kept tokens, and which stage cut the
    others."""

    ids: Tensor
    """int64 [n], in the order of the ranking, in main memory."""
    probs: Tensor
    """float64 [n], sum 1."""
    bands: tuple[Band, ...]
    """What each filter kept, in the order of the chain."""
    logits: Tensor
    """float32 [V], as the first filter ranked them, on any device."""
    later: tuple[Tensor, ...] = ()
    """float32 [V] each, as they were ranked again after a change that follows a filter,
    in main memory."""
    start: int = 0
    """Index of the first kept token in the last ranking."""
    allowed: Tensor | None = None
    """As in `DrawConditions`."""
    bias: Mapping[int, float] = field(default_factory=dict)
    """What was added to the logits of some tokens; -inf for a ban."""
    changes: Changes = ()
    """Tokens whose logits were changed, by stage, in the order of the chain."""

    def __len__(self) -> int:
        """Return the number of tokens that can be drawn."""
        return self.ids.numel()

    def cuts(self, tokens: Tensor, scores: Tensor) -> list[Mark | None]:
        """Return, for each token of int64 [m], the stage that cut it, or None; `scores`
        [m] are their `logits`, in main memory."""
        columns = [
            scores.tolist(),
            *(ranking[tokens].tolist() for ranking in self.later),
        ]
        return [
            self._cut_mark(token, values)
            for token, *values in zip(tokens.tolist(), *columns, strict=True)
        ]

    def _cut_mark(self, token: int, values: Sequence[float]) -> Mark | None:
        """Return the stage that cut a token, given its logit in each ranking."""
        if values[0] == -math.inf:
            if self.bias.get(token) == -math.inf:
                return "b"
            if self.allowed is not None and not self.allowed[token]:
                return "s"
        for band in self.bands:
            if not band.holds((-values[band.ranking], token)):
                return band.mark
        return None

    def changed(self, tokens: Tensor) -> list[Mark | None]:
        """Return, for each token of int64 [m], the last stage that changed its
        logit."""
        marks: list[Mark | None] = [None] * tokens.numel()
        for stage, ids in self.changes:
            for at, token in enumerate(tokens.tolist()):
                if token in ids:
                    marks[at] = stage
        return marks

    def prob(self, tokens: Tensor) -> Tensor:
        """Return float64 probs [m] of tokens, int64 [m]; 0 for those that were cut."""
        # NumPy's zeros cost nothing until they are read.
        dense = torch.from_numpy(np.zeros(self.logits.numel()))
        dense[self.ids] = self.probs
        return dense[tokens]
