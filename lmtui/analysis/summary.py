"""What the scored tokens of a text add up to.

Owns the numbers of a summary, in constant memory however long the text is:

tokens, scored      all tokens, and those with a distribution: a first token without
                    context has none, and no part in anything below.
logprob             the sum of the log-probabilities, in nats.
perplexity          exp of the mean negative log-probability of a scored token.
bits per byte and   the sum in bits over the UTF-8 bytes, and the characters (code
per character       points), of the text that was scored. Of a character shared by
                    scored tokens and others the scored bytes count, not the character.
ranks               how many tokens were the most probable one, among the first 10, the
                    first 100, the first 1000, or none of these.
entropies           how many distributions had an entropy of 0 to 1 bit, 1 to 2, and so
                    on; the last bin is open.
worst               the most surprising tokens.
calibration         whether the model's certainty was justified: see there.

Totals of several texts can be merged: the means are then over all their tokens. Pure;
knows no engine, no output.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from lmtui import notation
from lmtui.analysis.calibration import Calibration
from lmtui.engine.totals import bits_per, mean_nll, perplexity
from lmtui.engine.types import ScoredToken

Span = tuple[int, int]

RANKS = (1, 10, 100, 1000)
"""The last rank of each bin but the open one."""
ENTROPY_BINS = 12
"""Bins of one bit each; the last one is open."""


def rank_bin(rank: int) -> int:
    """The bin of a rank, from 0."""
    return bisect_left(RANKS, rank)


def entropy_bin(entropy: float) -> int:
    """The bin of an entropy in nats, from 0."""
    return min(int(notation.bits(-entropy)), ENTROPY_BINS - 1)


@dataclass(slots=True)
class Totals:
    """Running sums over scored tokens, in float64; a token without context is
    counted but not scored."""

    keep: int = 0
    """How many of the most surprising tokens to remember."""
    tokens: int = 0
    scored: int = 0
    characters: int = 0
    """Of what was scored, once it was measured; as the bytes."""
    bytes: int = 0
    ranks: list[int] = field(default_factory=lambda: [0] * (len(RANKS) + 1))
    """Tokens in each bin of `rank_bin`."""
    entropies: list[int] = field(default_factory=lambda: [0] * ENTROPY_BINS)
    """Tokens in each bin of `entropy_bin`."""
    calibration: Calibration = field(default_factory=Calibration)
    _sum: float = 0.0
    _unscored: list[ScoredToken] = field(default_factory=list)
    _worst: list[tuple[float, int, ScoredToken, Span]] = field(default_factory=list)

    def add(self, token: ScoredToken, span: Span = (0, 0)) -> None:
        """Take one more token in."""
        self.tokens += 1
        if token.logprob is None:
            self._unscored.append(token)
            return
        self.scored += 1
        self._sum += token.logprob
        if token.rank is not None:
            self.ranks[rank_bin(token.rank)] += 1
        if token.entropy is not None:
            self.entropies[entropy_bin(token.entropy)] += 1
        self.calibration.add(token)
        if self.keep:
            self._remember((-token.logprob, -token.index, token, span))

    def _remember(self, item: tuple[float, int, ScoredToken, Span]) -> None:
        if len(self._worst) < self.keep:
            heapq.heappush(self._worst, item)
        else:
            heapq.heappushpop(self._worst, item)

    def measure(self, text: str, spans: Sequence[Span]) -> None:
        """Count the characters and bytes of `text` that were scored; `spans` are those
        of all its tokens."""
        self.characters, self.bytes = scored_size(text, spans, self._unscored)

    def merge(self, other: Totals) -> None:
        """Take in another text, but for its most surprising tokens."""
        self.tokens += other.tokens
        self.scored += other.scored
        self.characters += other.characters
        self.bytes += other.bytes
        self._sum += other._sum
        for own, more in (
            (self.ranks, other.ranks),
            (self.entropies, other.entropies),
        ):
            own[:] = map(int.__add__, own, more)
        self.calibration.merge(other.calibration)

    @property
    def logprob(self) -> float | None:
        """Sum of the scored tokens' log-probabilities, in nats."""
        return self._sum if self.scored else None

    @property
    def mean_nll(self) -> float | None:
        """Mean negative log-probability of a scored token, in nats."""
        return mean_nll(self._sum, self.scored)

    @property
    def perplexity(self) -> float | None:
        """exp of the mean; None also where it is too large for a float."""
        return perplexity(self.mean_nll)

    @property
    def bits_per_byte(self) -> float | None:
        """The sum in bits over the UTF-8 bytes that were scored."""
        return bits_per(self.logprob, self.bytes)

    @property
    def bits_per_character(self) -> float | None:
        """The sum in bits over the characters that were scored."""
        return bits_per(self.logprob, self.characters)

    def worst(self) -> list[tuple[ScoredToken, Span]]:
        """The most surprising tokens, the most surprising first."""
        return [(token, span) for _, _, token, span in sorted(self._worst)[::-1]]


def figures(totals: Totals) -> dict[str, str]:
    """Totals of a text by their labels, as the shell and the page write them."""
    calibration = totals.calibration
    return {
        notation.TOKENS.short: notation.count(totals.tokens),
        notation.SCORED.short: notation.count(totals.scored),
        notation.LOG_PROB.full: notation.log_prob(totals.logprob),
        notation.SURPRISAL.full: notation.surprisal(totals.logprob),
        notation.PERPLEXITY.full: notation.perplexity(totals.perplexity),
        notation.PER_BYTE.full: notation.rate(totals.bits_per_byte),
        notation.PER_CHARACTER.full: notation.rate(totals.bits_per_character),
        "right at once": notation.percent(calibration.accuracy(1)),
        "in the first 5": notation.percent(calibration.accuracy(5)),
        "in the first 10": notation.percent(calibration.accuracy(10)),
        "calibration error": notation.percent(calibration.expected_error),
    }


def scored_size(
    text: str, spans: Sequence[Span], unscored: Sequence[ScoredToken]
) -> tuple[int, int]:
    """Characters and UTF-8 bytes of `text` without its unscored first tokens.

    Where the next token shares the last character of theirs, the tokens' own bytes
    are what was not scored.
    """
    characters, size = len(text), len(text.encode("utf-8"))
    if not unscored:
        return characters, size
    count = len(unscored)
    end = spans[count - 1][1]
    shares = len(spans) > count and spans[count][0] < end
    own = sum(len(token.bytes) for token in unscored)
    return characters - end, size - (own if shares else len(text[:end].encode("utf-8")))
