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
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from lmtui.engine.sampling.stages import active_stages
from lmtui.engine.sampling_settings import SamplingSettings
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
    known = _listed_logprobs(logits).tolist()
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


_PLAIN = frozenset({"temperature", "top_k", "top_p", "min_p"})


def is_certain(logits: Tensor, settings: SamplingSettings) -> bool:
    """Return whether it follows from the listed tokens of a row [V] what the sampler
    draws from: where top-k or min-p leaves no others, before top-p, which needs the sum
    of these at the temperature."""
    stages = active_stages(settings)
    is_plain = settings.grammar is None and not settings.logit_bias
    if not is_plain or not _PLAIN.issuperset(stages):
        return False
    if settings.temperature == 0:
        return True
    known = _listed_logprobs(logits)
    # The temperature may come later: both have to cut the last one.
    last = float(known[-1] - known[0]) / max(1.0, settings.temperature)
    for stage in stages:
        if stage == "top_k" and settings.top_k <= len(known):
            return True
        if stage == "min_p" and last < math.log(settings.min_p):
            return True
        if stage == "top_p":
            return False
    return False


def _listed_logprobs(logits: Tensor) -> Tensor:
    """Return the logprobs [N] of the listed tokens of a row, the greatest first. A last
    one of -inf says that all others are impossible."""
    impossible = bool(logits.min().isinf())
    return logits.topk(listed_count(logits) + impossible).values.double()
