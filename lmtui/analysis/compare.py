"""Two models on one text: where they differ, and by how much.

Owns what is compared with what. Where both have read the same tokens, that is token
with token; where they have cut the text in different ways, the smallest parts of it at
whose edges both begin a token, each with the sum of its tokens' log-probabilities. A
difference is log2 P of the other model minus log2 P of the first, in bits: positive
where the other one expected the text more. A part with a token that one of the two
could not score has none, and no part in the sums. Pure, in constant memory; knows no
engine and no screen.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from lmtui.analysis.summary import Span
from lmtui.engine.types import Encoding, ScoredToken
from lmtui.notation import LN2

PlacedToken = tuple[ScoredToken, Span]
"""A scored token and where it stands, in code points."""
Unit = Literal["token", "span"]
"""What is compared: single tokens, or parts that may have several."""

NOTICEABLE = 1.0
"""Bits from which on a part counts as changed."""


@dataclass(frozen=True, slots=True)
class ComparedSpan:
    """A part of a text with what one model, or two, made of it."""

    tokens: tuple[PlacedToken, ...]
    """Of the first model."""
    others: tuple[PlacedToken, ...] = ()
    """Of the other one, where there is one."""

    @property
    def span(self) -> Span:
        """Where it stands, in code points."""
        spans = [span for _, span in (*self.tokens, *self.others)]
        return min(start for start, _ in spans), max(end for _, end in spans)

    @property
    def logprob(self) -> float | None:
        """Of all its tokens, in nats; None where one has none."""
        return _sum(self.tokens)

    @property
    def other_logprob(self) -> float | None:
        """The same of the other model's tokens."""
        return _sum(self.others)

    @property
    def bits(self) -> float | None:
        """How much more the other model expected it; None where that is unknown."""
        own, other = self.logprob, self.other_logprob
        if own is None or other is None or own == other == -math.inf:
            return None
        return (other - own) / LN2


def _sum(tokens: Iterable[PlacedToken]) -> float | None:
    known = [token.logprob for token, _ in tokens]
    total = 0.0
    for logprob in known:
        if logprob is None:
            return None
        total += logprob
    return total if known else None


def unit_of(one: Encoding, other: Encoding) -> Unit:
    """What can be compared of a text that was cut in these two ways."""
    return "token" if (one.ids, one.spans) == (other.ids, other.spans) else "span"


def alone(tokens: Iterable[PlacedToken]) -> Iterator[ComparedSpan]:
    """The tokens of one model, one by one."""
    return (ComparedSpan((token,)) for token in tokens)


def pieces(
    tokens: Iterable[PlacedToken], others: Iterable[PlacedToken], unit: Unit
) -> Iterator[ComparedSpan]:
    """The parts to be compared, in order; together they have every token."""
    if unit == "token":
        for one, other in zip(tokens, others, strict=True):
            yield ComparedSpan((one,), (other,))
        return
    ours, theirs = _Side(iter(tokens)), _Side(iter(others))
    while ours.start < math.inf or theirs.start < math.inf:
        yield _next_piece(ours, theirs)


class _Side:
    """One model's tokens, as far as they were taken."""

    def __init__(self, tokens: Iterator[PlacedToken]) -> None:
        self._tokens = tokens
        self._next = next(tokens, None)

    @property
    def start(self) -> float:
        """Where the next token begins."""
        return math.inf if self._next is None else self._next[1][0]

    def take(self) -> PlacedToken:
        """The next token."""
        assert self._next is not None
        taken, self._next = self._next, next(self._tokens, None)
        return taken


def _next_piece(ours: _Side, theirs: _Side) -> ComparedSpan:
    taken: tuple[list[PlacedToken], list[PlacedToken]] = ([], [])
    end = -1  # of what was taken
    while True:
        # A side that has nothing yet, or whose next token begins within the piece.
        waiting = [
            place
            for place, side in enumerate((ours, theirs))
            if side.start < math.inf and (side.start < end or not taken[place])
        ]
        if not waiting:
            return ComparedSpan(tuple(taken[0]), tuple(taken[1]))
        place = min(waiting, key=lambda place: (ours, theirs)[place].start)
        token = (ours, theirs)[place].take()
        taken[place].append(token)
        end = max(end, token[1][1])


@dataclass(slots=True)
class Comparison:
    """Running sums over the parts that both models have scored."""

    unit: Unit
    keep: int = 0
    """How many of the parts that changed most to remember."""
    compared: int = 0
    logprob: float = 0.0
    """Of the first model, in nats."""
    other_logprob: float = 0.0
    more: int = 0
    """Parts that the other model expected more, by `NOTICEABLE` bits or more."""
    less: int = 0
    """Parts that it expected less, by as much."""
    _most: list[tuple[float, int, ComparedSpan]] = field(default_factory=list)

    def add(self, piece: ComparedSpan) -> None:
        """Take one more part in."""
        own, other, difference = piece.logprob, piece.other_logprob, piece.bits
        if own is None or other is None or difference is None:
            return
        self.compared += 1
        self.logprob += own
        self.other_logprob += other
        self.more += difference >= NOTICEABLE
        self.less += difference <= -NOTICEABLE
        if self.keep and difference:
            item = (abs(difference), -self.compared, piece)
            heapq.heappush(self._most, item)
            if len(self._most) > self.keep:
                heapq.heappop(self._most)

    def merge(self, other: Comparison) -> None:
        """Take in another text, but for the parts that changed most."""
        self.unit = self.unit if self.unit == other.unit else "span"
        self.compared += other.compared
        self.logprob += other.logprob
        self.other_logprob += other.other_logprob
        self.more += other.more
        self.less += other.less

    @property
    def bits(self) -> float | None:
        """How much more the other model expected the whole; None without parts."""
        return (self.other_logprob - self.logprob) / LN2 if self.compared else None

    def most(self) -> list[ComparedSpan]:
        """The parts that changed most first; of equals the earlier."""
        return [piece for _, _, piece in sorted(self._most, reverse=True)]
