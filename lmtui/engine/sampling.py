"""From logits to a drawn token, as a ladder of pure functions.

Owns what "sampled" means here. The order of the stages is: repetition penalty →
temperature → top-k → top-p → min-p → renormalise → draw. Each of the three filters
keeps a beginning of one ranking, by (-logit, id), so a filter is a function from
ranked probabilities to "how many stay". The preview calls these very functions.

Knows no model, no tokenizer and no cache. Logits are float32 and stay where the model
computes; of them, what is ranked comes to main memory, and all else is done there. V is
the size of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmtui.engine.types import Cut, SamplingSettings

_FIRST_LOOK = 64  # tokens ranked before it is known whether more are needed
_WIDENING = 16
_BEHIND_ALL = math.inf, 0
_BLOCK = 32  # logits that are looked at together, to find the greatest of all


def fetched(*parts: Tensor) -> list[Tensor]:
    """Small tensors of one device in main memory, by one copy: each waits for all that
    the device has still to do. Whole numbers come whole up to 2^53."""
    if parts[0].device.type == "cpu":
        return list(parts)
    whole = torch.cat([part.double().flatten() for part in parts]).cpu()
    pieces = torch.split(whole, [part.numel() for part in parts])
    return [
        piece.to(part.dtype).view(part.shape)
        for piece, part in zip(pieces, parts, strict=True)
    ]


def sent(ids: Sequence[int] | Tensor, there: Tensor) -> Tensor:
    """Tokens where another tensor is, without waiting for what is done there."""
    return torch.as_tensor(ids, dtype=torch.int64).to(there.device, non_blocking=True)


@dataclass(slots=True)
class Ranking:
    """The first tokens by (-logit, id), in main memory; more are fetched as they are
    asked for."""

    logits: Tensor
    """float32 [V], after the repetition penalty: what is ranked, on any device."""
    ids: Tensor
    """int64 [m]."""
    values: Tensor
    """float32 [m], their logits."""
    total: Tensor | None = None
    """float64 []: what `log_total` says of all, where the sampler needs it."""

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """The first `count` ids and logits."""
        if count > self.ids.numel():
            self.ids, self.values = fetched(*rank(self.logits, count))
        return self.ids[:count], self.values[:count]


@dataclass(frozen=True, slots=True)
class SampledDistribution:
    """The distribution drawn from: the tokens that can be drawn, and why not others."""

    ids: Tensor
    """int64 [n], in the order of the ranking, in main memory."""
    probs: Tensor
    """float64 [n], sum 1."""
    bounds: tuple[tuple[Cut, tuple[float, int]], ...]
    """Per stage, in their order, the (-logit, id) of the last token it let through."""
    logits: Tensor
    """float32 [V], after the repetition penalty: what was ranked, on any device."""

    def __len__(self) -> int:
        """How many can be drawn."""
        return self.ids.numel()

    def cuts(self, tokens: Tensor, scores: Tensor) -> list[Cut | None]:
        """Per token of int64 [m] the stage that removed it, None if it can be drawn;
        `scores` are what `logits` says of them, in main memory."""
        last = min((last for _, last in self.bounds), default=_BEHIND_ALL)
        places = zip((-scores).tolist(), tokens.tolist(), strict=True)
        return [None if place <= last else self._cut(place) for place in places]

    def _cut(self, place: tuple[float, int]) -> Cut:
        return next(stage for stage, last in self.bounds if place > last)

    def prob(self, tokens: Tensor) -> Tensor:
        """float64 probabilities of int64 [m] tokens; 0 for those cut."""
        dense = torch.zeros(self.logits.numel(), dtype=torch.float64)
        dense[self.ids] = self.probs
        return dense[tokens]


def rank(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` tokens of logits [..., V] by (-logit, id): their ids [..., n]
    and logits [..., n], where those are. Only on the CPU does it look at values."""
    few = 0 < count < logits.shape[-1] // 8
    if few and logits.device.type == "cpu":
        # topk does not say which of several equal logits comes first, or which of them
        # it leaves out. Where no two are equal, there is no such question.
        values, ids = _top(logits, count + 1)
        rows = values.view(-1, count + 1).tolist()
        if all(len(set(row)) == len(row) for row in rows):
            return ids[..., :count], values[..., :count]
    places = _places(logits)
    if few:
        ids = places.topk(count).indices
    else:
        ids = places.sort(descending=True).indices[..., :count]
    return ids, logits.gather(-1, ids)


def _places(logits: Tensor) -> Tensor:
    """Logits [..., V] as whole numbers that are in the order (-logit, id), no two of
    them equal: int64 [..., V]. Float32 numbers of one sign are in the order of their
    bits, those below 0 the other way round."""
    bits = (logits + 0.0).view(torch.int32)  # -0 is 0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    ids = torch.arange(logits.shape[-1], device=logits.device)
    return (ordered.long() << 32) - ids


def _top(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The n greatest of logits [..., V], and their ids, as topk gives them.

    That is slow for one large vocabulary. What is greater than the n-th greatest lies
    in fewer than n blocks, which are those whose own greatest are: it is enough to look
    into n blocks.
    """
    if logits.dim() > 1 or count > logits.numel() // (8 * _BLOCK):
        return logits.topk(count)
    # What is apart in memory is a block, so that many of them are looked at together.
    count_of = logits.numel() // _BLOCK
    blocks = logits[: count_of * _BLOCK].view(_BLOCK, count_of)
    chosen = blocks.amax(0).topk(count, sorted=False).indices
    inner = torch.arange(0, blocks.numel(), count_of)
    ids = (inner[:, None] + chosen).flatten()
    if blocks.numel() < logits.numel():
        ids = torch.cat([ids, torch.arange(blocks.numel(), logits.numel())])
    values, places = logits.index_select(0, ids).topk(count)
    return values, ids[places]


def penalize(logits: Tensor, context: Tensor, penalty: float) -> Tensor:
    """Weaken the tokens in `context` (int64 [n]): positive logits are divided by the
    penalty, negative ones multiplied (Keskar et al. 2019, CTRL, section 4.1)."""
    if penalty == 1 or context.numel() == 0:
        return logits
    weakened = logits.clone()
    values = logits[context]
    weakened[context] = torch.where(values > 0, values / penalty, values * penalty)
    return weakened


def count_top_p(probs: Tensor, top_p: float) -> int:
    """How many of the ranked probs [n] top-p keeps: up to and including the one that
    reaches the mass (Holtzman et al. 2020, nucleus sampling)."""
    if top_p >= 1:
        return probs.numel()
    reaching = int(torch.searchsorted(probs.cumsum(0), top_p))
    return min(reaching + 1, probs.numel())


def count_min_p(probs: Tensor, min_p: float) -> int:
    """How many of the ranked probs [n] are at least `min_p` of the first
    (Nguyen et al. 2024, min-p sampling)."""
    return int((probs >= min_p * probs[0]).sum())


def filter_logits(
    logits: Tensor, settings: SamplingSettings, context: Tensor | None = None
) -> SampledDistribution:
    """Apply all stages to raw logits [V]; `context` int64 [n] is what came before."""
    if context is not None:
        logits = penalize(logits, context, settings.repetition_penalty)
    return filter_ranking(
        Ranking(logits, *fetched(*wanted(logits, settings))), settings
    )


def wanted(logits: Tensor, settings: SamplingSettings, least: int = 0) -> list[Tensor]:
    """What a `Ranking` of logits [V] is made of, where those are: as much of it as the
    filters mostly need, and `least` tokens."""
    everything = _size(logits, settings) == logits.numel() > _FIRST_LOOK
    size = _FIRST_LOOK if everything else _size(logits, settings)
    parts = [*rank(logits, min(max(size, least), logits.numel()))]
    if everything and settings.temperature:
        parts.append(log_total(logits, settings.temperature))
    return parts


def log_total(logits: Tensor, temperature: float) -> Tensor:
    """The logarithm of the sum of all exp(logit / temperature); float64 []."""
    return (logits.double() / temperature).logsumexp(0)


def _size(logits: Tensor, settings: SamplingSettings) -> int:
    """How many tokens top-k keeps."""
    if settings.temperature == 0:
        return 1
    return min(settings.top_k or logits.numel(), logits.numel())


def filter_ranking(ranking: Ranking, settings: SamplingSettings) -> SampledDistribution:
    """Apply the filters to penalised logits that are ranked."""
    if settings.temperature == 0:
        ids, values = ranking.first(1)
        one = torch.ones(1, dtype=torch.float64)
        last = -float(values[0]), int(ids[0])
        return SampledDistribution(ids, one, (("g", last),), ranking.logits)
    size = _size(ranking.logits, settings)
    ids, values, probs, after_p = _rank_until_top_p(ranking, settings, size)
    after_m = count_min_p(probs[:after_p], settings.min_p)
    probs = probs[:after_m]
    bounds: list[tuple[Cut, tuple[float, int]]] = []
    stages: list[tuple[Cut, int]] = [("k", size), ("p", after_p), ("m", after_m)]
    for stage, count in stages:
        if count <= ids.numel():
            last = -float(values[count - 1]), int(ids[count - 1])
            bounds.append((stage, last))
    return SampledDistribution(
        ids[:after_m], probs / probs.sum(), tuple(bounds), ranking.logits
    )


def _rank_until_top_p(
    ranking: Ranking, settings: SamplingSettings, size: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Rank as few of the `size` best tokens as top-p needs.

    Returns their ids [n], logits [n], their float64 probs [n] among the `size` best at
    the temperature, and how many of them top-p keeps.
    """
    everything = size == ranking.logits.numel()
    look = _FIRST_LOOK if everything else size
    while True:
        look = min(look, size)
        ids, values = ranking.first(look)
        scaled = values.double() / settings.temperature
        if look < size:
            assert ranking.total is not None  # it was asked for
            probs = (scaled - ranking.total).exp()
        else:
            probs = scaled.softmax(0)
        kept = count_top_p(probs, settings.top_p)
        if kept < look or look == size:
            return ids, values, probs, kept
        look *= _WIDENING


def draw(kept: SampledDistribution, generator: torch.Generator) -> int:
    """Draw a token by inverting the cumulative distribution at one uniform number.

    Returns its place among those that are kept.
    """
    cumulative = kept.probs.cumsum(0)
    uniform = torch.rand(1, dtype=torch.float64, generator=generator)
    place = torch.searchsorted(cumulative, uniform * cumulative[-1], right=True)
    return min(int(place), len(kept) - 1)


def entropy(logprobs: Tensor, *, probs: Tensor | None = None) -> Tensor:
    """Entropy in nats of float32 logprobs [..., V]; impossible tokens add nothing.

    `probs`, their exponentials where these are known already, is overwritten.
    """
    terms = (logprobs.exp() if probs is None else probs).mul_(logprobs)
    return -terms.nan_to_num_(0.0).sum(-1)  # 0 · -inf is NaN, and no others are
