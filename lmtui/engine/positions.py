"""Positions that were looked at, so that they can be drawn again without the model.

Owns the way from the logits of one position to the `Distribution` that leaves the
engine. Keeps the logits of the last few positions, and of more of them the context,
from which one forward makes the logits again. Knows no cache and no loop.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count as numbers

import torch
from torch import Tensor

from lmtui.engine import sampling
from lmtui.engine.detokenize import Vocabulary
from lmtui.engine.types import Candidate, Distribution, SamplingSettings

_WITH_LOGITS = 64
_WITH_CONTEXT = 2048
_HANDLES = numbers()
# One row of numbers for all engines: a handle of a model that is gone means nothing
# to the next one.


@dataclass(frozen=True)
class Context:
    """The first `length` of `ids`, which may have grown since."""

    ids: Sequence[int]
    length: int

    def tensor(self) -> Tensor:
        """int64 [length]."""
        return torch.tensor(self.ids[: self.length])


@dataclass
class Position:
    """The raw logits [V] of one next token, with what follows from them alone."""

    logits: Tensor
    context: Context
    handle: int = -1

    @cached_property
    def logprobs(self) -> Tensor:
        """float32 [V]."""
        return self.logits.log_softmax(-1)

    @cached_property
    def _sums(self) -> tuple[float, float]:
        # Both at once: the probs of a large vocabulary are not worth keeping.
        probs = self.logprobs.exp()
        total = float(probs.sum(dtype=torch.float64))
        return float(sampling.entropy(self.logprobs, probs=probs)), total

    @property
    def entropy(self) -> float:
        """In nats."""
        return self._sums[0]

    @property
    def total_prob(self) -> float:
        """The sum of all probs, as they were rounded: 1, or nearly so."""
        return self._sums[1]

    def rank_of(self, token: int, kept: sampling.Kept) -> int:
        """1 + the number of tokens with a strictly greater logit."""
        logits = self.logits
        if kept.logits is logits and bool((kept.ranked == token).any()):
            logits = logits[kept.ranked]  # all that are greater are among them
        return 1 + int((logits > self.logits[token]).sum())

    def kept(self, settings: SamplingSettings) -> sampling.Kept:
        """The distribution drawn from under `settings`."""
        penalty = settings.repetition_penalty != 1
        context = self.context.tensor() if penalty else None
        return sampling.filter_logits(self.logits, settings, context)


def distribution(
    position: Position,
    kept: sampling.Kept,
    vocabulary: Vocabulary,
    *,
    start: int = 0,
    count: int = 20,
) -> Distribution:
    """The rows from rank index `start`, and sums over everything else."""
    ids = _ranked(position, kept, start + count)[start:]
    rows = candidates(position, kept, vocabulary, ids)
    shown = math.fsum(row.prob for row in rows)
    drawn = math.fsum(row.sampled_prob or 0 for row in rows)
    return Distribution(
        candidates=rows,
        start=start,
        vocabulary=position.logits.numel(),
        rest_prob=max(0.0, position.total_prob - shown),
        rest_sampled_prob=max(0.0, float(kept.probs.sum()) - drawn),
        kept=kept.ids.numel(),
        kept_prob=float(position.logprobs[kept.ids].double().exp().sum()),
        entropy=position.entropy,
        handle=position.handle,
    )


def candidates(
    position: Position, kept: sampling.Kept, vocabulary: Vocabulary, ids: Tensor
) -> tuple[Candidate, ...]:
    """A row for each of the tokens int64 [n], in their order."""
    numbers = (position.logprobs[ids].tolist(), kept.prob(ids).tolist())
    rows = zip(ids.tolist(), *numbers, kept.cuts(ids), strict=True)
    return tuple(
        Candidate(
            id=token,
            text=vocabulary.text(token),
            bytes=vocabulary.bytes(token),
            logprob=logprob,
            sampled_prob=prob,
            cut=cut,
        )
        for token, logprob, prob, cut in rows
    )


def _ranked(position: Position, kept: sampling.Kept, count: int) -> Tensor:
    """The first `count` tokens, int64; taken from the sampler's ranking where that is
    the same one (no penalty) and goes far enough."""
    if kept.logits is position.logits and kept.ranked.numel() >= count:
        return kept.ranked[:count]
    return sampling.rank(position.logits, count)[0]


class Positions:
    """The positions of late, by handle."""

    def __init__(self, recompute: Callable[[Context], Tensor]) -> None:
        self._recompute = recompute
        self._recent: OrderedDict[int, Position] = OrderedDict()
        self._contexts: OrderedDict[int, Context] = OrderedDict()

    def add(self, logits: Tensor, context: Context) -> Position:
        """Keep a new position under the next handle."""
        handle = next(_HANDLES)
        self._contexts[handle] = context
        if len(self._contexts) > _WITH_CONTEXT:
            self._contexts.popitem(last=False)
        return self._remember(Position(logits, context, handle))

    def get(self, handle: int) -> Position:
        """The position behind a handle, recomputed where its logits are gone.

        Raises:
            KeyError: there was never such a handle, or it is too long ago.
        """
        if position := self._recent.get(handle):
            return position
        context = self._contexts[handle]
        return self._remember(Position(self._recompute(context), context, handle))

    def _remember(self, position: Position) -> Position:
        self._recent[position.handle] = position
        if len(self._recent) > _WITH_LOGITS:
            self._recent.popitem(last=False)
        return position
