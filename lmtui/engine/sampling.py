"""From logits to a drawn token, as a ladder of pure functions.

Owns what "sampled" means here. The order of the stages is: repetition penalty →
temperature → top-k → top-p → min-p → renormalise → draw. Each of the three filters
keeps a beginning of one ranking, by (-logit, id), so a filter is a function from
ranked probabilities to "how many stay". The preview calls these very functions.

Knows no model, no tokenizer and no cache. Tensors are float32 on the CPU, V is the
size of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lmtui.engine.types import Cut, SamplingSettings

_FIRST_LOOK = 64  # tokens ranked before it is known whether more are needed
_WIDENING = 16
_BLOCK = 64  # logits that are looked at together, to find the greatest of all


@dataclass(frozen=True, slots=True)
class Kept:
    """The distribution drawn from: the tokens that can be drawn, and why not others."""

    ranked: Tensor
    """int64 [m], m ≥ n: the ranking as far as it was needed; the first n are kept."""
    probs: Tensor
    """float64 [n], sum 1."""
    bounds: tuple[tuple[Cut, tuple[float, int]], ...]
    """Per stage, in their order, the (-logit, id) of the last token it let through."""
    logits: Tensor
    """float32 [V], after the repetition penalty: what was ranked."""

    @property
    def ids(self) -> Tensor:
        """int64 [n], in the order of the ranking."""
        return self.ranked[: self.probs.numel()]

    def cuts(self, tokens: Tensor) -> list[Cut | None]:
        """Per token of int64 [m] the stage that removed it, None if it can be drawn."""
        places = zip((-self.logits[tokens]).tolist(), tokens.tolist(), strict=True)
        return [self._cut(place) for place in places]

    def _cut(self, place: tuple[float, int]) -> Cut | None:
        return next((stage for stage, last in self.bounds if place > last), None)

    def prob(self, tokens: Tensor) -> Tensor:
        """float64 probabilities of int64 [m] tokens; 0 for those cut."""
        dense = torch.zeros(self.logits.numel(), dtype=torch.float64)
        dense[self.ids] = self.probs
        return dense[tokens]


def rank(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first `count` tokens of logits [..., V] by (-logit, id): their ids [..., n]
    and logits [..., n]."""
    if 0 < count < logits.shape[-1] // 8:
        values, ids = _top(logits, count + 1)
        # topk does not say which of several equal logits it takes. It does not
        # matter unless the last one taken equals the first one left out.
        if bool((values[..., count - 1] > values[..., count]).all()):
            ids = ids[..., :count].sort().values
            ordered = logits.gather(-1, ids).sort(descending=True, stable=True)
            return ids.gather(-1, ordered.indices), ordered.values
    ordered = logits.sort(descending=True, stable=True)
    return ordered.indices[..., :count], ordered.values[..., :count]


def _top(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The n greatest of logits [..., V], and their ids, as topk gives them.

    That is slow for one large vocabulary. What is greater than the n-th greatest lies
    in fewer than n blocks, which are those whose own greatest are: it is enough to look
    into n blocks.
    """
    if logits.dim() > 1 or count > logits.numel() // (8 * _BLOCK):
        return logits.topk(count)
    blocks = logits[: logits.numel() // _BLOCK * _BLOCK].view(-1, _BLOCK)
    chosen = blocks.amax(1).topk(count, sorted=False).indices
    tail = logits[blocks.numel() :]
    values, places = torch.cat([blocks[chosen].flatten(), tail]).topk(count)
    within = count * _BLOCK
    ids = chosen[places.clamp_max(within - 1) // _BLOCK] * _BLOCK + places % _BLOCK
    return values, torch.where(places < within, ids, places - within + blocks.numel())


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
    mass_before = probs.cumsum(0) - probs
    return max(1, int((mass_before < top_p).sum()))


def count_min_p(probs: Tensor, min_p: float) -> int:
    """How many of the ranked probs [n] are at least `min_p` of the first
    (Nguyen et al. 2024, min-p sampling)."""
    return int((probs >= min_p * probs[0]).sum())


def filter_logits(
    logits: Tensor, settings: SamplingSettings, context: Tensor | None = None
) -> Kept:
    """Apply all stages to raw logits [V]; `context` int64 [n] is what came before."""
    if context is not None:
        logits = penalize(logits, context, settings.repetition_penalty)
    if settings.temperature == 0:
        return _greedy(logits)
    size = min(settings.top_k or logits.numel(), logits.numel())
    ids, values, probs, after_p = _rank_until_top_p(logits, settings, size)
    after_m = count_min_p(probs[:after_p], settings.min_p)
    probs = probs[:after_m]
    bounds: list[tuple[Cut, tuple[float, int]]] = []
    stages: list[tuple[Cut, int]] = [("k", size), ("p", after_p), ("m", after_m)]
    for stage, count in stages:
        if count <= ids.numel():
            last = -float(values[count - 1]), int(ids[count - 1])
            bounds.append((stage, last))
    return Kept(ids, probs / probs.sum(), tuple(bounds), logits)


def _greedy(logits: Tensor) -> Kept:
    best = logits.argmax()  # the first of equals, so the smallest id
    one = torch.ones(1, dtype=torch.float64)
    last = -float(logits[best]), int(best)
    return Kept(best.view(1), one, (("g", last),), logits)


def _rank_until_top_p(
    logits: Tensor, settings: SamplingSettings, size: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """Rank as few of the `size` best tokens as top-p needs.

    Returns their ids [n], logits [n], their float64 probs [n] among the `size` best at
    the temperature, and how many of them top-p keeps.
    """
    everything = size == logits.numel()
    look = _FIRST_LOOK if everything else size
    while True:
        look = min(look, size)
        ids, values = rank(logits, look)
        scaled = values.double() / settings.temperature
        among = logits.double() / settings.temperature if look < size else scaled
        probs = (scaled - among.logsumexp(0)).exp()
        kept = count_top_p(probs, settings.top_p)
        if kept < look or look == size:
            return ids, values, probs, kept
        look *= _WIDENING


def draw(kept: Kept, generator: torch.Generator) -> tuple[int, float]:
    """Draw a token by inverting the cumulative distribution at one uniform number.

    Returns its id and the probability that it had.
    """
    cumulative = kept.probs.cumsum(0)
    uniform = torch.rand(1, dtype=torch.float64, generator=generator)
    place = torch.searchsorted(cumulative, uniform * cumulative[-1], right=True)
    index = min(int(place), kept.ids.numel() - 1)
    return int(kept.ids[index]), float(kept.probs[index])


def entropy(logprobs: Tensor, *, probs: Tensor | None = None) -> Tensor:
    """Entropy in nats of float32 logprobs [..., V]; impossible tokens add nothing.

    `probs`, their exponentials where these are known already, is overwritten.
    """
    terms = (logprobs.exp() if probs is None else probs).mul_(logprobs)
    return -terms.nan_to_num_(0.0).sum(-1)  # 0 · -inf is NaN, and no others are
