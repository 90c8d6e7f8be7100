"""Distributions of which only the most probable tokens are known.

A server lists N tokens of V with their log-probabilities. The probability of all others
together, the rest, follows exactly, and so does every rank up to N; the entropy lies in
a range. Such a row is kept as logits [V] that are logprobs, in which each token that is
not listed has an equal share of the rest: of all distributions with these N rows, that
is the one of greatest entropy. So the tokens that are listed are those above the least
value. Knows no server and no text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from lmtui.engine.sampling.filters import count_min_p, count_top_p
from lmtui.engine.sampling.stages import STAGES, active_stages, come_in_order
from lmtui.engine.types import SamplingSettings
from lmtui.models.remote.dialects import Order
from lmtui.partial import EntropyRange, Rank, RankAbove


def filled(ids: Sequence[int], logprobs: Sequence[float], vocabulary: int) -> Tensor:
    """Return the logits [V] of one row, given its listed tokens."""
    least = min(logprobs)
    others = vocabulary - len(ids)
    rest = max(0.0, 1 - math.fsum(map(math.exp, logprobs)))
    share = math.log(rest / others) if rest and others else -math.inf
    # Rounded numbers can leave a rest that no distribution has.
    logits = torch.full((vocabulary,), min(share, least), dtype=torch.float32)
    logits[torch.tensor(ids)] = torch.tensor(logprobs, dtype=torch.float32)
    return logits


def listed_count(logits: Tensor) -> int:
    """Return the number of tokens of a row [V] that are listed."""
    return int((logits > logits.min()).sum())


def only_listed(logits: Tensor) -> Tensor:
    """Return rows [n, V] as logprobs in which the tokens that are not listed are
    impossible."""
    least = logits.min(-1, keepdim=True).values
    return logits.masked_fill(logits <= least, -math.inf)


def entropy_range(logprobs: Sequence[float], others: float) -> EntropyRange:
    """Return the least and the greatest entropy, in nats, of a position with these
    logprobs, the greatest first, and `others` more tokens: infinite where their number
    is not known, and then there is no greatest entropy.

    The greatest is that of equal shares. Each token that is not listed is at most as
    probable as the last listed one, p_N, so that the rest adds at least
    rest · ln(1 / p_N).
    """
    probs = [math.exp(logprob) for logprob in logprobs]
    known = [p * logprob for p, logprob in zip(probs, logprobs, strict=True) if p]
    inside, last = max(0.0, -math.fsum(known)), logprobs[-1]
    rest = max(0.0, 1 - math.fsum(probs))
    if not rest or not others or last == -math.inf:
        return EntropyRange(inside, inside)  # none is more probable than the last
    least = inside - rest * last
    return EntropyRange(least, max(least, inside + rest * math.log(others / rest)))


def row_entropy(logits: Tensor) -> EntropyRange:
    """Return the range of the entropy of a row [V]."""
    known = listed_logprobs(logits).tolist()
    return entropy_range(known, logits.numel() - len(known))


def listed_scores(
    block: Tensor, targets: Sequence[int]
) -> Iterator[tuple[float | None, Rank, EntropyRange]]:
    """Yield log-probability, rank and entropy of target tokens, given the rows [n, V]
    that they are predicted from. The log-probability of a token that is not listed is
    None."""
    for logits, target in zip(block, targets, strict=True):
        own = float(logits[target])
        is_listed = own > float(logits.min())
        above = int((logits > own).sum())
        yield (
            own if is_listed else None,
            1 + above if is_listed else RankAbove(listed_count(logits)),
            row_entropy(logits),
        )


_PLAIN = ("temperature", "top_k", "top_p", "min_p")
ORDERS: Mapping[Order, tuple[str, ...]] = {
    "min_p_first": ("penalties", "temperature", "min_p", "top_k", "top_p"),
}
"""Orders of the stages that servers have themselves, where they are not ours."""


def other_stage(settings: SamplingSettings, order: Sequence[str] = STAGES) -> str:
    """Return a stage of the sampler, or the setting, that needs more than the listed
    tokens, or another order of the stages; empty for none."""
    if settings.logit_bias:
        return "logit_bias"
    active = active_stages(settings)
    others = [stage for stage in active if stage not in _PLAIN]
    if others:
        return others[0]
    return "" if come_in_order(active, order) else "sampler_order"


def is_certain(
    logits: Tensor,
    settings: SamplingSettings,
    order: Order = "min_p_last",
) -> bool:
    """Return whether it follows from the listed tokens of a row [V] alone what the
    sampler draws from, whatever the others are; `order` is that of the filters."""
    if settings.grammar is not None or other_stage(settings, ORDERS.get(order, STAGES)):
        return False
    if settings.temperature == 0:
        return True
    known = listed_logprobs(logits)
    listed = len(known)
    probs = _at_temperature(known, settings)  # of the first token
    after_m = count_min_p(probs.numpy(), settings.min_p)
    top_k, size = settings.top_k or math.inf, logits.numel()
    beyond = _max_rest_weight(known, settings.temperature, size - listed)
    counts = set()
    if order == "min_p_last":
        among = probs[: int(min(top_k, listed))]
        more = _max_rest_weight(known, settings.temperature, min(top_k, size) - listed)
        counts |= _kept_counts(among, more, settings, after_m)
    if order == "min_p_first":
        among = probs[: int(min(top_k, after_m))]
        more = beyond if after_m == listed < top_k else 0.0
        counts |= _kept_counts(among, more, settings, after_m)
    # As many as are listed may be more, unless top-k keeps no more.
    return len(counts) == 1 and (max(counts) < listed or top_k <= listed)


def _kept_counts(
    probs: Tensor, more: float, settings: SamplingSettings, most: int
) -> set[int]:
    """Return how many of the ranked probs [n] top-p keeps, `most` at the most, if the
    tokens behind them sum to nothing, and if they sum to `more`."""
    totals = probs.sum(), probs.sum() + more
    return {
        min(most, count_top_p((probs / total).numpy(), settings.top_p))
        for total in totals
    }


def _at_temperature(logprobs: Tensor, settings: SamplingSettings) -> Tensor:
    """Return ranked logprobs [n] as probabilities at the temperature, as shares of the
    first."""
    return ((logprobs - logprobs[0]) / settings.temperature).exp()


def listed_logprobs(logits: Tensor) -> Tensor:
    """Return the logprobs [N] of the listed tokens of a row, the greatest first. A last
    one of -inf says that all others are impossible."""
    impossible = bool(logits.min().isinf())
    return logits.topk(listed_count(logits) + impossible).values.double()


def _rest_prob(known: Tensor) -> float:
    return max(0.0, 1 - float(known.exp().sum()))


def _max_rest_weight(known: Tensor, temperature: float, others: float) -> float:
    """Return a bound of Σ (p / p_1)^(1/T) over `others` tokens that are not listed,
    given the logprobs [N] of those that are.

    They sum to at most the rest, and each is at most p_N. For T ≤ 1, x^(1/T) is convex,
    and few tokens of p_N give the most; for T > 1 it is concave, and equal shares do.
    """
    rest = _rest_prob(known)
    if not rest or others <= 0 or known[-1] == -math.inf:
        return 0.0
    first, last, power = float(known[0]), float(known[-1]), 1 / temperature
    every = math.log(others) + power * last
    if power >= 1:
        bound = math.log(rest) + (power - 1) * last
    elif others == math.inf:
        return math.inf
    else:
        bound = math.log(others) + power * math.log(rest / others)
    return math.exp(min(every, bound) - power * first)
