"""Calibration of a model over the scored tokens of a text, in constant memory.

Answers: of the predictions with probability p, what share came true? Pure; knows no
engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from lmtui.engine.types import Candidate, ScoredToken
from lmtui.partial import RankAbove

BINS = 10
ROWS = BINS - 1
"""Rows of alternatives that each scored token needs, for exact counts of `claims`."""
RANKS = (1, 5, 10)
"""The values of k for accuracy at k."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions with a probability in (low, high]; the first bin includes 0."""

    low: float
    high: float
    count: int
    mean_prob: float | None
    """Mean predicted probability; None for an empty bin."""
    hit_rate: float | None
    """Share of the predictions that came true; None for an empty bin."""


@dataclass(slots=True)
class _Bins:
    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    hits: list[int] = field(default_factory=lambda: [0] * BINS)
    probs: list[float] = field(default_factory=lambda: [0.0] * BINS)

    def add(self, prob: float, hit: bool) -> None:
        index = bin_of(prob)
        self.counts[index] += 1
        self.hits[index] += hit
        self.probs[index] += prob

    def merge(self, other: _Bins) -> None:
        self.counts = _added(self.counts, other.counts)
        self.hits = _added(self.hits, other.hits)
        pairs = zip(self.probs, other.probs, strict=True)
        self.probs = [one + another for one, another in pairs]

    def shown(self) -> list[Bin]:
        columns = zip(self.counts, self.probs, self.hits, strict=True)
        return [
            Bin(
                index / BINS,
                (index + 1) / BINS,
                count,
                prob / count if count else None,
                hits / count if count else None,
            )
            for index, (count, prob, hits) in enumerate(columns)
        ]


def bin_of(prob: float) -> int:
    return min(max(math.ceil(prob * BINS) - 1, 0), BINS - 1)


def _added(one: Iterable[int], other: Iterable[int]) -> list[int]:
    return [a + b for a, b in zip(one, other, strict=True)]


@dataclass(slots=True)
class Calibration:
    """Running counts over scored tokens, for three measures.

    Accuracy at k is the share of tokens of rank k or better; equal logits share a rank.
    A token that a server did not list is a miss for those k up to which it lists
    tokens. For a greater k it could be either, and to leave it out would keep the hits
    only: the accuracy is not known then.

    For `confidence`, the most probable token of each position, with its probability p,
    is one prediction. In ten bins of p of equal width, the mean p is compared with the
    share that came true. The expected calibration error is the mean distance of the
    two, weighted by the predictions in a bin (Guo et al. 2017, "On Calibration of
    Modern Neural Networks", equations 2 to 5; there with 15 bins).

    For `claims`, every token of the vocabulary is a prediction at each position, with
    its own p: marginal calibration (Kumar et al. 2019, "Verified Uncertainty
    Calibration", definition 2.4), over all tokens. Only p above 1/10 counts, which at
    most nine tokens of a position have: with `ROWS` rows a position the counts are
    exact.

    A calibrated model is near the diagonal in both; an overconfident one is below it.
    """

    ranked: int = 0
    """Tokens of which is known whether they are the most probable."""
    _unknown: list[int] = field(default_factory=lambda: [0] * len(RANKS))
    _within: list[int] = field(default_factory=lambda: [0] * len(RANKS))
    _confidence: _Bins = field(default_factory=_Bins)
    _claims: _Bins = field(default_factory=_Bins)

    def add(self, token: ScoredToken) -> None:
        """Add a token; one without rows does not count in the bins."""
        rank = token.rank
        if rank is None:
            return
        self.ranked += 1
        for index, k in enumerate(RANKS):
            if isinstance(rank, RankAbove):
                self._unknown[index] += k > rank.listed
            else:
                self._within[index] += rank <= k
        if not token.top:
            return
        self._confidence.add(_prob(token.top[0]), token.top[0].id == token.id)
        for row in token.top[:ROWS]:
            prob = _prob(row)
            if not bin_of(prob):
                break
            self._claims.add(prob, row.id == token.id)

    def merge(self, other: Calibration) -> None:
        self.ranked += other.ranked
        self._unknown = _added(self._unknown, other._unknown)
        self._within = _added(self._within, other._within)
        self._confidence.merge(other._confidence)
        self._claims.merge(other._claims)

    def accuracy(self, k: int) -> float | None:
        """Return the share of tokens of rank `k` or better, None where it is not known;
        `k` is one of `RANKS`."""
        index = RANKS.index(k)
        if self._unknown[index] or not self.ranked:
            return None
        return self._within[index] / self.ranked

    @property
    def confidence(self) -> list[Bin]:
        """Bins of the most probable tokens."""
        return self._confidence.shown()

    @property
    def claims(self) -> list[Bin]:
        """Bins of all predictions above 1/10; the first bin is left out."""
        return self._claims.shown()[1:]

    @property
    def expected_error(self) -> float | None:
        """The expected calibration error, from 0 to 1; None without predictions."""
        bins = self._confidence
        whole = sum(bins.counts)
        if not whole:
            return None
        pairs = zip(bins.hits, bins.probs, strict=True)
        return math.fsum(abs(hits - prob) for hits, prob in pairs) / whole


def _prob(row: Candidate) -> float:
    return min(row.prob, 1.0)  # rounding can make a logprob slightly positive
