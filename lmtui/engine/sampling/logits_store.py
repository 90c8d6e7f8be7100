"""Store of recent positions, so that their distributions can be recomputed.

Keeps the raw logits of the last 64 positions on the model's device (64 · V float32
numbers: 64 MB for a vocabulary of 256k), and the contexts of the last 2048, from which
one forward pass restores the logits. Knows no cache and no decode loop.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count as numbers

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmtui.engine.backend import not_a_distribution
from lmtui.engine.sampling.chain import DrawConditions, SamplerChain
from lmtui.engine.sampling.effects import stage_effects
from lmtui.engine.sampling.listed_rows import (
    is_certain,
    listed_count,
    row_entropy,
)
from lmtui.engine.sampling.penalties import masked
from lmtui.engine.sampling.ranks import rank, to_cpu, to_device
from lmtui.engine.sampling.row_statistics import (
    RecordedStatistics,
    RowStatistics,
    row_statistics,
)
from lmtui.engine.sampling.sampled import SampledDistribution
from lmtui.engine.softmax import (
    log_normaliser,
    logprobs_of,
)
from lmtui.engine.text.detokenizer import Spelling
from lmtui.engine.token_ids import Ids
from lmtui.engine.types import Candidate, Distribution, StageEffect
from lmtui.partial import Entropy, Rank, RankAbove

_WITH_LOGITS = 64
_WITH_CONTEXT = 2048
_HANDLES = numbers()


def new_handle() -> int:
    """Return the next handle. All engines count together, so that a handle of a closed
    model is unknown to the next one."""
    return next(_HANDLES)


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Numbers of m tokens of a position, in main memory; each tensor is [m]."""

    ids: Tensor
    """int64."""
    logits: Tensor
    """float32, raw."""
    logprobs: Tensor
    """float32, of the raw logits."""
    scores: Tensor
    """float32: the logits as the first filter of the sampler ranks them."""

    def part(self, start: int, stop: int | None = None) -> TokenRows:
        """Return the rows from index `start` up to `stop`, or to the end."""
        part = slice(start, stop)
        return TokenRows(
            self.ids[part], self.logits[part], self.logprobs[part], self.scores[part]
        )


@dataclass(frozen=True, slots=True)
class LogitsView:
    """Part of a position's distribution under some settings, in main memory."""

    first: TokenRows
    """First tokens of the ranking by raw logits: as many as were asked for, or more."""
    sampled: SampledDistribution
    sampled_rows: TokenRows
    """Rows of the tokens that can be drawn."""
    entropy: Entropy
    """Entropy over all tokens."""
    varentropy: float | None
    """As in `Distribution`."""
    is_certain: bool = True
    """Whether `sampled` does not depend on tokens that are not listed."""
    allowed_prob: float = 1.0
    """The model's own probability of the tokens that the grammar allows."""


@dataclass(frozen=True, slots=True)
class StoredLogits:
    """Raw logits [V] of one position, float32, on the model's device."""

    logits: Tensor
    conditions: DrawConditions = field(default_factory=DrawConditions)
    """What is drawn depends on these, too."""
    handle: int = -1
    top_logprobs: int | None = None
    """Number of the tokens that are known, where not all are (see `listed_rows`)."""
    statistics: Callable[[Tensor, int], RowStatistics] = row_statistics

    def view(self, chain: SamplerChain, count: int = 20) -> LogitsView:
        """Return the sampler's distribution and at least the first `count` tokens.

        Takes one copy from the device, unless the filters keep more tokens than they
        usually do.

        Raises:
            LmtuiError: the logits are no distribution, or no token can be drawn.
        """
        # 1) on the device: rank the changed logits, and the raw ones if they differ
        prepared = chain.prepare(self.logits, self.conditions)
        drawn_from, count = prepared.logits, min(count, self.logits.numel())
        same = drawn_from is self.logits
        size = chain.ranking_size(prepared, count)
        raw = self.statistics(self.logits, size if same else count)
        ids, values = raw.ids, raw.logits
        scores = values
        if not same:
            ids = torch.cat([ids[:count], rank(drawn_from, size)[0]])
            values, scores = self.logits[ids], drawn_from[ids]
        more = chain.ranking_totals(prepared)
        # 2) on the device: probabilities
        normaliser = self._own_normaliser(raw.normaliser)
        allowed_prob = self._allowed_prob(normaliser)
        # 3) copy to main memory, and check
        columns = ids, values, logprobs_of(values, normaliser), scores
        *table, entropy, varentropy, allowed_prob = to_cpu(
            *columns, *more, raw.entropy, raw.varentropy, allowed_prob
        )
        rows = TokenRows(*table[:4])
        if not math.isfinite(float(rows.logprobs[0])):
            raise not_a_distribution()
        # 4) in main memory: filter
        drawn = rows if same else rows.part(count)
        table = [drawn.ids, drawn.scores, *table[4:]]
        kept = chain.filter(prepared, table, self.conditions)
        end = kept.start + len(kept)
        ready = end <= drawn.ids.numel() and not kept.later
        look = LogitsView(
            first=rows if same else rows.part(0, count),
            sampled=kept,
            sampled_rows=drawn.part(kept.start, end)
            if ready
            else self.rows(kept.ids, kept),
            entropy=float(entropy),
            varentropy=float(varentropy),
            allowed_prob=min(1.0, float(allowed_prob)),
        )
        if self.top_logprobs is None:
            return look
        return replace(
            look,
            entropy=row_entropy(self.logits),
            varentropy=None,
            is_certain=not self.conditions.bias
            and is_certain(self.logits, chain.settings),
        )

    def effects(self, chain: SamplerChain) -> tuple[StageEffect, ...]:
        return stage_effects(chain, self.logits, self.conditions)

    def rows(self, ids: Tensor, sampled: SampledDistribution) -> TokenRows:
        """Return the rows of tokens int64 [m], by one copy from the device."""
        normaliser = self._own_normaliser(log_normaliser(self.logits))
        there = to_device(ids, self.logits)
        logits = self.logits[there]
        columns = logits, logprobs_of(logits, normaliser), sampled.logits[there]
        return TokenRows(ids, *to_cpu(*columns))

    def rank(self, index: int, look: LogitsView) -> int:
        """Return 1 + the number of tokens with a strictly greater logit than the one at
        index `index` of the kept tokens."""
        logit = float(look.sampled_rows.logits[index])
        above = int((look.first.logits > logit).sum())
        if above == look.first.ids.numel():  # more may be greater: count them all
            above = int((self.logits > logit).sum())
        return 1 + above

    def rank_of(self, token: int) -> Rank:
        above = int((self.logits > self.logits[token]).sum())
        if self.top_logprobs and above >= self.top_logprobs:
            return RankAbove(self.top_logprobs)
        return 1 + above

    def ranks(self, rows: TokenRows) -> list[int]:
        """Return 1 + the number of tokens with a strictly greater logit, for each
        row."""
        logits = self.logits[to_device(rows.ids, self.logits)]
        above = (self.logits > logits[:, None]).sum(1)
        return [1 + count for count in to_cpu(above)[0].tolist()]

    def _own_normaliser(self, normaliser: Tensor) -> Tensor:
        """Return the log normaliser, float64 []: a server's log-probabilities stay as
        they are."""
        return torch.zeros_like(normaliser) if self.top_logprobs else normaliser

    def _allowed_prob(self, normaliser: Tensor) -> Tensor:
        """Return the probability of the tokens that the grammar allows: float64 []."""
        allowed = self.conditions.allowed
        if allowed is None:
            return torch.ones_like(normaliser)
        logits = masked(self.logits, allowed)
        return (log_normaliser(logits) - normaliser).exp()


def distribution(
    position: StoredLogits,
    look: LogitsView,
    vocabulary: Spelling,
    *,
    start: int = 0,
    count: int = 20,
    effects: tuple[StageEffect, ...] = (),
) -> Distribution:
    """Return `count` rows from rank index `start`, and the totals of all other tokens;
    `effects` are what each stage of the sampler did."""
    kept, listed = look.sampled, position.top_logprobs
    end = start + count if listed is None else max(start, min(start + count, listed))
    first = look.first.part(start, end)
    rows = candidates(first, kept, vocabulary)
    if not look.is_certain:
        rows = tuple(map(without_sampled, rows))
    shown = math.fsum(map(math.exp, first.logprobs.tolist()))
    drawn = math.fsum(row.sampled_prob or 0 for row in rows)
    # With a row for each token that can be drawn, rounding must not look like a rest.
    all_shown = sum(row.cut is None for row in rows) == len(kept)
    rest_sampled = 0.0 if all_shown else max(0.0, float(kept.probs.sum()) - drawn)
    return Distribution(
        candidates=rows,
        start=start,
        vocabulary=position.logits.numel(),
        rest_prob=max(0.0, 1 - shown),
        rest_sampled_prob=rest_sampled,
        remaining=len(kept),
        remaining_prob=float(look.sampled_rows.logprobs.double().exp().sum()),
        entropy=look.entropy,
        varentropy=look.varentropy,
        handle=position.handle,
        is_certain=look.is_certain,
        top_logprobs=listed,
        coin=position.conditions.coin,
        chain=effects if look.is_certain else (),
        allowed=None
        if kept.allowed is None
        else int(np.count_nonzero(kept.allowed.numpy())),
        allowed_prob=look.allowed_prob if kept.allowed is not None else 1.0,
    )


def without_sampled(row: Candidate) -> Candidate:
    return row._replace(sampled_prob=None, cut=None, changed=None)


def candidates(
    rows: TokenRows, sampled: SampledDistribution, vocabulary: Spelling
) -> tuple[Candidate, ...]:
    numbers = rows.logprobs.tolist(), sampled.prob(rows.ids).tolist()
    marks = sampled.cuts(rows.ids, rows.scores), sampled.changed(rows.ids)
    return tuple(
        Candidate(
            id=token,
            text=vocabulary.text(token),
            bytes=vocabulary.bytes(token),
            logprob=logprob,
            sampled_prob=prob,
            cut=cut,
            changed=changed,
        )
        for token, logprob, prob, cut, changed in zip(
            rows.ids.tolist(), *numbers, *marks, strict=True
        )
    )


@dataclass(frozen=True, slots=True)
class _Conditions:
    """Conditions of a draw, with the mask as bits: there are many of them."""

    others: DrawConditions
    bits: NDArray[np.uint8] | None
    size: int

    @classmethod
    def of(cls, conditions: DrawConditions) -> _Conditions:
        allowed = conditions.allowed
        if allowed is None:
            return cls(conditions, None, 0)
        bits = np.packbits(allowed.numpy())
        return cls(replace(conditions, allowed=None), bits, allowed.numel())

    def whole(self) -> DrawConditions:
        if self.bits is None:
            return self.others
        allowed = np.unpackbits(self.bits, count=self.size).view(np.bool_)
        return replace(self.others, allowed=torch.from_numpy(allowed))


class LogitsStore:
    """Recent positions by handle."""

    def __init__(
        self, recompute: Callable[[Ids], Tensor], *, partial: bool = False
    ) -> None:
        """`recompute` returns the logits after some ids; with `partial`, only some
        tokens of a position are listed."""
        self._recompute, self._partial = recompute, partial
        self._statistics = RecordedStatistics()
        self._recent: OrderedDict[int, StoredLogits] = OrderedDict()
        self._conditions: OrderedDict[int, _Conditions] = OrderedDict()

    def add(self, logits: Tensor, conditions: DrawConditions) -> StoredLogits:
        """Store a new position under the next handle."""
        handle = new_handle()
        self._conditions[handle] = _Conditions.of(conditions)
        if len(self._conditions) > _WITH_CONTEXT:
            self._conditions.popitem(last=False)
        return self._remember(logits, conditions, handle)

    def transient(self, logits: Tensor, conditions: DrawConditions) -> StoredLogits:
        """Return a position that is not stored, and has no handle."""
        return self._position(logits, conditions, -1)

    def get(self, handle: int) -> StoredLogits:
        """Return the position of a handle; its logits are recomputed if they were
        dropped.

        Raises:
            KeyError: the handle is unknown or too old.
        """
        if position := self._recent.get(handle):
            return position
        conditions = self._conditions[handle].whole()
        logits = self._recompute(conditions.context)
        return self._remember(logits, conditions, handle)

    def _remember(
        self, logits: Tensor, conditions: DrawConditions, handle: int
    ) -> StoredLogits:
        position = self._position(logits, conditions, handle)
        self._recent[handle] = position
        if len(self._recent) > _WITH_LOGITS:
            self._recent.popitem(last=False)
        return position

    def _position(
        self, logits: Tensor, conditions: DrawConditions, handle: int
    ) -> StoredLogits:
        listed = listed_count(logits) if self._partial else None
        return StoredLogits(logits, conditions, handle, listed, self._statistics)
