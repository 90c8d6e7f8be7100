"""Ranks and entropies of which only a part is known, for a server lists the most
probable tokens alone."""

from __future__ import annotations

from typing import NamedTuple


class RankAbove(NamedTuple):
    """Rank of a token that is not listed."""

    listed: int
    """The number that it is greater than."""


class EntropyRange(NamedTuple):
    """Entropy that agrees with what is listed, in nats."""

    least: float
    most: float
    """Infinite where the size of the vocabulary is not known."""


Rank = int | RankAbove
"""1 + the number of tokens with a strictly greater logit, as far as that is known."""
Entropy = float | EntropyRange
"""Entropy in nats, as far as it is known."""


def exact_rank(rank: Rank | None) -> int | None:
    return None if isinstance(rank, RankAbove) else rank


def exact_entropy(entropy: Entropy | None) -> float | None:
    return None if isinstance(entropy, EntropyRange) else entropy
