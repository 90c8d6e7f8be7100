"""The totals of a scored text.

Owns the running sums, and which tokens surprised the most. Pure; knows no engine, no
output.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from lmtui.engine import sums
from lmtui.engine.types import ScoredToken

Span = tuple[int, int]


@dataclass(slots=True)
class Totals:
    """Running sums over scored tokens, in float64; a token without context is
    counted but not scored."""

    keep: int = 0
    """How many of the most surprising tokens to remember."""
    tokens: int = 0
    scored: int = 0
    unscored_bytes: int = 0
    """UTF-8 bytes of the tokens without a distribution."""
    _sum: float = 0.0
    _worst: list[tuple[float, int, ScoredToken, Span]] = field(default_factory=list)

    def add(self, token: ScoredToken, span: Span = (0, 0)) -> None:
        """Take one more token in."""
        self.tokens += 1
        if token.logprob is None:
            return
        self.scored += 1
        self._sum += token.logprob
        if self.keep:
            self._remember((-token.logprob, -token.index, token, span))

    def _remember(self, item: tuple[float, int, ScoredToken, Span]) -> None:
        if len(self._worst) < self.keep:
            heapq.heappush(self._worst, item)
        else:
            heapq.heappushpop(self._worst, item)

    @property
    def logprob(self) -> float | None:
        """Sum of the scored tokens' log-probabilities, in nats."""
        return self._sum if self.scored else None

    @property
    def mean_nll(self) -> float | None:
        """Mean negative log-probability of a scored token, in nats."""
        return sums.mean_nll(self._sum, self.scored)

    @property
    def perplexity(self) -> float | None:
        """exp of the mean; None also where it is too large for a float."""
        return sums.perplexity(self.mean_nll)

    def bits_per_byte(self, scored_bytes: int) -> float | None:
        """The sum in bits over the UTF-8 bytes of the text that was scored."""
        return sums.bits_per(self.logprob, scored_bytes)

    def worst(self) -> list[tuple[ScoredToken, Span]]:
        """The most surprising tokens, the most surprising first."""
        return [(token, span) for _, _, token, span in sorted(self._worst)[::-1]]


def scored_bytes(
    text: str, spans: Sequence[Span], unscored: Sequence[ScoredToken]
) -> int:
    """UTF-8 bytes of `text` without its unscored first tokens.

    Where the next token shares the last character of theirs, the tokens' own bytes
    are what was not scored.
    """
    whole = len(text.encode("utf-8"))
    if not unscored:
        return whole
    count = len(unscored)
    end = spans[count - 1][1]
    if len(spans) > count and spans[count][0] < end:
        return whole - sum(len(token.bytes) for token in unscored)
    return whole - len(text[:end].encode("utf-8"))
