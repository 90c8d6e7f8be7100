"""Sampling: from logits to a drawn token, as a chain of pure functions.

Stages: bias → repetition penalty → temperature → top-k → top-p → min-p → renormalise →
draw. Each filter keeps a prefix of one ranking, by (-logit, id). Knows no model, no
tokenizer and no cache. V is the size of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lmtui.engine.types import Cut, SamplingSettings

# Logits stay on the model's device; the ranked ones are copied to main memory, where
# the filters run.
_FIRST_LOOK = 64  # tokens ranked before it is known whether more are needed
_WIDENING = 16
_BEHIND_ALL = math.inf, 0
_BLOCK = 32  # logits per block in the search for the greatest


def to_cpu(*parts: Tensor) -> list[Tensor]:
    """Copy small tensors of one device to main memory, all in one copy, since each copy
    waits for the device. Integers are exact up to 2^53."""
    if parts[0].device.type == "cpu":
        return list(parts)
    whole = torch.cat([part.double().flatten() for part in parts]).cpu()
    pieces = torch.split(whole, [part.numel() for part in parts])
    return [
        piece.to(part.dtype).view(part.shape)
        for piece, part in zip(pieces, parts, strict=True)
    ]


def to_device(ids: Sequence[int] | Tensor, there: Tensor) -> Tensor:
    """Copy token ids to the device of another tensor, without waiting for that
    device."""
    return torch.as_tensor(ids, dtype=torch.int64).to(there.device, non_blocking=True)


@dataclass(slots=True)
class Ranking:
    """First tokens by (-logit, id), in main memory; more are fetched when they are
    needed."""

    logits: Tensor
    """float32 [V], after bias and repetition penalty, on any device."""
    ids: Tensor
    """int64 [m]."""
    values: Tensor
    """float32 [m], the logits of `ids`."""
    total: Tensor | None = None
    """float64 []: `log_total` of all logits, where the sampler needs it."""

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the first `count` ids and logits."""
        if count > self.ids.numel():
            self.ids, self.values = to_cpu(*rank(self.logits, count))
        return self.ids[:count], self.values[:count]


@dataclass(frozen=True, slots=True)
class SampledDistribution:
    """Distribution that is drawn from: the kept tokens, and which stage cut the
    others."""

    ids: Tensor
    """int64 [n], in the order of the ranking, in main memory."""
    probs: Tensor
    """float64 [n], sum 1."""
    bounds: tuple[tuple[Cut, tuple[float, int]], ...]
    """Per stage, in order, the (-logit, id) of the last token it kept."""
    logits: Tensor
    """float32 [V], after bias and repetition penalty, on any device."""

    def __len__(self) -> int:
        """Return the number of tokens that can be drawn."""
        return self.ids.numel()

    def cuts(self, tokens: Tensor, scores: Tensor) -> list[Cut | None]:
        """Return, for each token of int64 [m], the stage that cut it, or None; `scores`
        [m] are their `logits`, in main memory."""
        last = min((last for _, last in self.bounds), default=_BEHIND_ALL)
        places = zip((-scores).tolist(), tokens.tolist(), strict=True)
        return [None if place <= last else self._cut(place) for place in places]

    def _cut(self, sort_key: tuple[float, int]) -> Cut:
        return next(stage for stage, last in self.bounds if sort_key > last)

    def prob(self, tokens: Tensor) -> Tensor:
        """Return float64 probs [m] of tokens, int64 [m]; 0 for those that were cut."""
        dense = torch.zeros(self.logits.numel(), dtype=torch.float64)
        dense[self.ids] = self.probs
        return dense[tokens]


def rank(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the first `count` tokens of logits [..., V] by (-logit, id): ids [..., n]
    and logits [..., n], on the same device. Reads values only on the CPU, so that it
    never waits for a GPU."""
    few = 0 < count < logits.shape[-1] // 8
    if few and logits.device.type == "cpu":
        # topk orders equal logits arbitrarily, and may leave out any of them. Its
        # result is used for the rows whose values are all different.
        values, ids = _top(logits, count + 1)
        rows = values.view(-1, count + 1).tolist()
        ids = ids[..., :count].reshape(-1, count)
        if tied := [at for at, row in enumerate(rows) if len(set(row)) < len(row)]:
            flat = logits.reshape(len(rows), -1)
            ids[tied] = _places(flat[tied]).topk(count).indices
        ids = ids.view(*logits.shape[:-1], count)
        return ids, logits.gather(-1, ids)
    places = _places(logits)
    if few:
        ids = places.topk(count).indices
    else:
        ids = places.sort(descending=True).indices[..., :count]
    return ids, logits.gather(-1, ids)


def _places(logits: Tensor) -> Tensor:
    """Map logits [..., V] to distinct int64 [..., V], greatest first in the order
    (-logit, id).

    The bits of float32 numbers of one sign are in their numeric order, reversed for
    negative ones.
    """
    bits = (logits + 0.0).view(torch.int32)  # -0 is 0
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    ids = torch.arange(logits.shape[-1], device=logits.device)
    return (ordered.long() << 32) - ids


def _top(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` greatest of logits [..., V] and their ids, like `topk`.

    `topk` is slow for one large vocabulary. The n greatest logits lie in the n blocks
    with the greatest maxima, so only those are searched.
    """
    if logits.dim() > 1 or count > logits.numel() // (8 * _BLOCK):
        return logits.topk(count)
    # A block is a column, so that its maximum is computed for many blocks at a time.
    count_of = logits.numel() // _BLOCK
    blocks = logits[: count_of * _BLOCK].view(_BLOCK, count_of)
    chosen = blocks.amax(0).topk(count, sorted=False).indices
    inner = torch.arange(0, blocks.numel(), count_of)
    ids = (inner[:, None] + chosen).flatten()
    if blocks.numel() < logits.numel():
        ids = torch.cat([ids, torch.arange(blocks.numel(), logits.numel())])
    values, places = logits.index_select(0, ids).topk(count)
    return values, ids[places]


def biased(logits: Tensor, bias: Mapping[int, float]) -> Tensor:
    """Return logits [V] with a number added to those of some tokens."""
    if not bias:
        return logits
    ids = to_device(list(bias), logits)
    return logits.index_add(0, ids, logits.new_tensor(list(bias.values())))


def penalize(logits: Tensor, context: Tensor, penalty: float) -> Tensor:
    """Apply the repetition penalty to the tokens of `context` (int64 [n]): positive
    logits are divided by it, negative ones multiplied (Keskar et al. 2019, CTRL,
    section 4.1)."""
    if penalty == 1 or context.numel() == 0:
        return logits
    weakened = logits.clone()
    values = logits[context]
    weakened[context] = torch.where(values > 0, values / penalty, values * penalty)
    return weakened


def count_top_p(probs: Tensor, top_p: float) -> int:
    """Return how many of the ranked probs [n] top-p keeps: up to and including the one
    that reaches the mass (Holtzman et al. 2020, nucleus sampling)."""
    if top_p >= 1:
        return probs.numel()
    reaching = int(torch.searchsorted(probs.cumsum(0), top_p))
    return min(reaching + 1, probs.numel())


def count_min_p(probs: Tensor, min_p: float) -> int:
    """Return how many of the ranked probs [n] are at least `min_p` of the first (Nguyen
    et al. 2024, min-p sampling)."""
    return int((probs >= min_p * probs[0]).sum())


def filter_logits(
    logits: Tensor, settings: SamplingSettings, context: Tensor | None = None
) -> SampledDistribution:
    """Apply all stages but the draw to raw logits [V]; `context` int64 [n] are the
    tokens before."""
    if context is not None:
        logits = penalize(logits, context, settings.repetition_penalty)
    return filter_ranking(
        Ranking(logits, *to_cpu(*ranking_inputs(logits, settings))), settings
    )


def ranking_inputs(
    logits: Tensor, settings: SamplingSettings, minimum: int = 0
) -> list[Tensor]:
    """Return the tensors of a `Ranking` of logits [V], still on their device: at least
    `minimum` tokens, and as many as the filters usually need."""
    everything = _size(logits, settings) == logits.numel() > _FIRST_LOOK
    size = _FIRST_LOOK if everything else _size(logits, settings)
    parts = [*rank(logits, min(max(size, minimum), logits.numel()))]
    if everything and settings.temperature:
        parts.append(log_total(logits, settings.temperature))
    return parts


def log_total(logits: Tensor, temperature: float) -> Tensor:
    """Return log Σ exp((logit − greatest) / temperature) over logits [V]; float64 [].
    Without the greatest one, the least temperatures would give infinities."""
    return ((logits.double() - logits.max().double()) / temperature).logsumexp(0)


def _size(logits: Tensor, settings: SamplingSettings) -> int:
    """Return how many tokens top-k keeps."""
    if settings.temperature == 0:
        return 1
    return min(settings.top_k or logits.numel(), logits.numel())


def filter_ranking(ranking: Ranking, settings: SamplingSettings) -> SampledDistribution:
    """Apply temperature, top-k, top-p and min-p to a ranking of penalised logits."""
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
        scaled = (values.double() - values[0].double()) / settings.temperature
        if look < size:
            assert ranking.total is not None  # `ranking_inputs` fetches it in this case
            probs = (scaled - ranking.total).exp()
        else:
            probs = scaled.softmax(0)
        kept = count_top_p(probs, settings.top_p)
        if kept < look or look == size:
            return ids, values, probs, kept
        look *= _WIDENING


def draw(sampled: SampledDistribution, generator: torch.Generator) -> int:
    """Draw a token; return its place among those that are kept."""
    return int(draw_many(sampled, generator, 1))


def draw_many(
    sampled: SampledDistribution, generator: torch.Generator, count: int
) -> Tensor:
    """Draw tokens by inverting the cumulative distribution at `count` uniform numbers.

    Returns their places among those that are kept, int64 [count]: those of as many
    calls of `draw`.
    """
    cumulative = sampled.probs.cumsum(0)
    reached = uniform(generator, count) * cumulative[-1]
    places = torch.searchsorted(cumulative, reached, right=True)
    return places.clamp(max=len(sampled) - 1)


def uniform(generator: torch.Generator, count: int = 1) -> Tensor:
    """Return the random numbers of draws: float64 [count], from 0 up to 1."""
    return torch.rand(count, dtype=torch.float64, generator=generator)


def entropy(logprobs: Tensor, *, probs: Tensor | None = None) -> Tensor:
    """Entropy in nats of float32 logprobs [..., V]; impossible tokens add nothing.

    `probs`, their exponentials if already computed, is overwritten.
    """
    terms = (logprobs.exp() if probs is None else probs).mul_(logprobs)
    return -terms.nan_to_num_(0.0).sum(-1)  # the only NaN are 0 · -inf
