"""Positions that were looked at, so that they can be drawn again without the model.

Owns the way from the logits of one position to the `Distribution` that leaves the
engine. Keeps the logits of the last few positions where the model computes (64 · V
float32 numbers: 64 MB of a vocabulary of 256k), and of more of them the context, from
which one forward makes the logits again. Knows no cache and no loop.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count as numbers

import torch
from torch import Tensor

from lmtui.engine import sampling
from lmtui.engine.backends.base import not_a_distribution
from lmtui.engine.detokenizer import Vocabulary
from lmtui.engine.types import Candidate, Distribution, SamplingSettings

_WITH_LOGITS = 64
_WITH_CONTEXT = 2048
_HANDLES = numbers()
# One row of numbers for all engines: a handle of a model that is gone means nothing
# to the next one.


@dataclass(frozen=True)
class ContextIds:
    """The first `length` of `ids`, which may have grown since."""

    ids: Sequence[int]
    length: int

    def tensor(self) -> Tensor:
        """int64 [length]."""
        return torch.tensor(self.ids[: self.length])


@dataclass(frozen=True, slots=True)
class TokenRows:
    """Some tokens of a position, in main memory; [m] each."""

    ids: Tensor
    """int64."""
    logits: Tensor
    """float32, raw."""
    logprobs: Tensor
    """float32, of the raw ones."""
    scores: Tensor
    """float32: the logits after the repetition penalty."""

    def part(self, start: int, stop: int | None = None) -> TokenRows:
        """Those from index `start` up to `stop`, or all from there on."""
        part = slice(start, stop)
        return TokenRows(
            self.ids[part], self.logits[part], self.logprobs[part], self.scores[part]
        )


@dataclass(frozen=True, slots=True)
class LogitsView:
    """What is seen of a position under some settings, in main memory."""

    first: TokenRows
    """The ranking of the raw logits, as far as it was asked for, or further."""
    kept: sampling.SampledDistribution
    kept_rows: TokenRows
    """What the position says of the tokens that are kept."""
    entropy: float
    """Of all tokens, in nats."""


@dataclass(frozen=True, slots=True)
class StoredLogits:
    """The raw logits [V] of one next token, float32, where the model computes."""

    logits: Tensor
    context: ContextIds
    handle: int = -1

    def look(self, settings: SamplingSettings, count: int = 20) -> LogitsView:
        """What the sampler makes of it, and at least the first `count` tokens; by one
        copy, unless more can be drawn than the filters mostly let through.

        Raises:
            LmtuiError: the logits are no distribution.
        """
        drawn_from, count = self._penalised(settings), min(count, self.logits.numel())
        same = drawn_from is self.logits
        ids, scores, *total = sampling.wanted(drawn_from, settings, count)
        values = scores
        if not same:
            ids = torch.cat([sampling.rank(self.logits, count)[0], ids])
            values, scores = self.logits[ids], drawn_from[ids]
        probs, greatest, log_total = self._normalised()
        # Of logits less the greatest, so that large ones cost no digits.
        entropy = log_total - probs.dot(self.logits - greatest)
        columns = ids, values, values - greatest - log_total, scores
        *table, entropy = sampling.fetched(*columns, *total, entropy)
        rows = TokenRows(*table[:4])
        if not math.isfinite(float(rows.logprobs[0])):
            raise not_a_distribution()
        if math.isnan(float(entropy)):  # some tokens are impossible: 0 · -inf
            entropy = sampling.entropy(self.logits.log_softmax(-1))
        drawn = rows if same else rows.part(count)
        ranking = sampling.Ranking(drawn_from, drawn.ids, drawn.scores, *table[4:])
        kept = sampling.filter_ranking(ranking, settings)
        more = len(kept) > drawn.ids.numel()
        return LogitsView(
            first=rows if same else rows.part(0, count),
            kept=kept,
            kept_rows=self.rows(kept.ids, kept) if more else drawn.part(0, len(kept)),
            entropy=float(entropy),
        )

    def rows(self, ids: Tensor, kept: sampling.SampledDistribution) -> TokenRows:
        """What it says of tokens int64 [m]; by one copy."""
        _, greatest, log_total = self._normalised()
        there = sampling.sent(ids, self.logits)
        logits = self.logits[there]
        columns = logits, logits - greatest - log_total, kept.logits[there]
        return TokenRows(ids, *sampling.fetched(*columns))

    def rank(self, place: int, look: LogitsView) -> int:
        """1 + the number of tokens with a strictly greater logit than the one at a
        place among those that are kept."""
        logit = float(look.kept_rows.logits[place])
        above = int((look.first.logits > logit).sum())
        if above == look.first.ids.numel():  # or else all above it are among these
            above = int((self.logits > logit).sum())
        return 1 + above

    def ranks(self, rows: TokenRows) -> list[int]:
        """1 + the number of tokens with a strictly greater logit, for each row."""
        logits = self.logits[sampling.sent(rows.ids, self.logits)]
        above = (self.logits > logits[:, None]).sum(1)
        return [1 + count for count in sampling.fetched(above)[0].tolist()]

    def _normalised(self) -> tuple[Tensor, Tensor, Tensor]:
        """Probs [V], the greatest logit [], and the logarithm of the sum of all
        exp(logit - greatest) []. The prob of the greatest is exp(0) / sum."""
        probs = self.logits.softmax(-1)
        return probs, self.logits.amax(), -probs.amax().log()

    def _penalised(self, settings: SamplingSettings) -> Tensor:
        if settings.repetition_penalty == 1:
            return self.logits
        context = sampling.sent(self.context.tensor(), self.logits)
        return sampling.penalize(self.logits, context, settings.repetition_penalty)


def distribution(
    position: StoredLogits,
    look: LogitsView,
    vocabulary: Vocabulary,
    *,
    start: int = 0,
    count: int = 20,
) -> Distribution:
    """The rows from rank index `start`, and sums over everything else."""
    kept = look.kept
    first = look.first.part(start, start + count)
    rows = candidates(first, kept, vocabulary)
    shown = math.fsum(map(math.exp, first.logprobs.tolist()))
    drawn = math.fsum(row.sampled_prob or 0 for row in rows)
    return Distribution(
        candidates=rows,
        start=start,
        vocabulary=position.logits.numel(),
        rest_prob=max(0.0, 1 - shown),
        rest_sampled_prob=max(0.0, float(kept.probs.sum()) - drawn),
        kept=len(kept),
        kept_prob=float(look.kept_rows.logprobs.double().exp().sum()),
        entropy=look.entropy,
        handle=position.handle,
    )


def candidates(
    rows: TokenRows, kept: sampling.SampledDistribution, vocabulary: Vocabulary
) -> tuple[Candidate, ...]:
    """Some tokens with all their numbers, in their order."""
    numbers = rows.logprobs.tolist(), kept.prob(rows.ids).tolist()
    cuts, ids = kept.cuts(rows.ids, rows.scores), rows.ids.tolist()
    return tuple(
        Candidate(
            id=token,
            text=vocabulary.text(token),
            bytes=vocabulary.bytes(token),
            logprob=logprob,
            sampled_prob=prob,
            cut=cut,
        )
        for token, logprob, prob, cut in zip(ids, *numbers, cuts, strict=True)
    )


class LogitsStore:
    """The positions of late, by handle."""

    def __init__(self, recompute: Callable[[ContextIds], Tensor]) -> None:
        self._recompute = recompute
        self._recent: OrderedDict[int, StoredLogits] = OrderedDict()
        self._contexts: OrderedDict[int, ContextIds] = OrderedDict()

    def add(self, logits: Tensor, context: ContextIds) -> StoredLogits:
        """Keep a new position under the next handle."""
        handle = next(_HANDLES)
        self._contexts[handle] = context
        if len(self._contexts) > _WITH_CONTEXT:
            self._contexts.popitem(last=False)
        return self._remember(StoredLogits(logits, context, handle))

    def get(self, handle: int) -> StoredLogits:
        """The position behind a handle, recomputed where its logits are gone.

        Raises:
            KeyError: there was never such a handle, or it is too long ago.
        """
        if position := self._recent.get(handle):
            return position
        context = self._contexts[handle]
        return self._remember(StoredLogits(self._recompute(context), context, handle))

    def _remember(self, position: StoredLogits) -> StoredLogits:
        self._recent[position.handle] = position
        if len(self._recent) > _WITH_LOGITS:
            self._recent.popitem(last=False)
        return position
