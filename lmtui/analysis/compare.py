"""Comparison of two models' scores of one text.

A difference is log2 P of the other model minus log2 P of the first, in bits: positive
where the other model found the text more probable. Pure, in constant memory; knows no
engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from lmtui import notation
from lmtui.analysis.summary import Span
from lmtui.engine.scoring.totals import Sums
from lmtui.engine.types import Encoding, ScoredToken
from lmtui.notation import LN2

PlacedToken = tuple[ScoredToken, Span]
"""A scored token and its span in code points."""
Unit = Literal["token", "span"]
"""The unit of comparison: single tokens, or spans of several tokens."""

NOTICEABLE = 1.0
"""Bits from which on a span counts as changed."""


@dataclass(frozen=True, slots=True)
class ComparedSpan:
    """A span of a text with one or two models' tokens.

    Where both models tokenise the text alike, it is one token of each. Otherwise it is
    the smallest span at whose edges both models begin a token, and logprobs are summed.
    """

    tokens: tuple[PlacedToken, ...]
    """Tokens of the first model."""
    others: tuple[PlacedToken, ...] = ()
    """Tokens of the other model, if there is one."""

    @property
    def span(self) -> Span:
        """Start and end in code points."""
        spans = [span for _, span in (*self.tokens, *self.others)]
        return min(start for start, _ in spans), max(end for _, end in spans)

    @property
    def logprob(self) -> float | None:
        """Sum over the first model's tokens in nats; None where a token has no
        logprob."""
        return _sum(self.tokens)

    @property
    def other_logprob(self) -> float | None:
        """Sum over the other model's tokens in nats; None where a token has no
        logprob."""
        return _sum(self.others)

    @property
    def bits(self) -> float | None:
        """The difference in bits; None where it is not known."""
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


def covered(
    text: str, pieces: Iterable[ComparedSpan]
) -> Iterator[tuple[str, tuple[ComparedSpan, ...]]]:
    """Yield all of a text in parts, each with what covers it: a span, several that
    share a character, or none."""
    start = end = 0
    together: list[ComparedSpan] = []
    for piece in pieces:
        first, last = piece.span
        if together and first < end:
            end = max(end, last)
        else:
            if together:
                yield text[start:end], tuple(together)
            if first > end:
                yield text[end:first], ()
            start, end, together = first, last, []
        together.append(piece)
    if together:
        yield text[start:end], tuple(together)
    if end < len(text):
        yield text[end:], ()


def unit_of(one: Encoding, other: Encoding) -> Unit:
    return "token" if (one.ids, one.spans) == (other.ids, other.spans) else "span"


def alone(tokens: Iterable[PlacedToken]) -> Iterator[ComparedSpan]:
    return (ComparedSpan((token,)) for token in tokens)


def pieces(
    tokens: Iterable[PlacedToken], others: Iterable[PlacedToken], unit: Unit
) -> Iterator[ComparedSpan]:
    """Yield the spans to compare, in order; together they hold every token."""
    if unit == "token":
        for one, other in zip(tokens, others, strict=True):
            yield ComparedSpan((one,), (other,))
        return
    ours, theirs = _Side(iter(tokens)), _Side(iter(others))
    while ours.start < math.inf or theirs.start < math.inf:
        yield _next_piece(ours, theirs)


class _Side:
    """An iterator over one model's tokens that shows where the next one starts."""

    def __init__(self, tokens: Iterator[PlacedToken]) -> None:
        self._tokens = tokens
        self._next = next(tokens, None)

    @property
    def start(self) -> float:
        """Start of the next token; infinity at the end."""
        return math.inf if self._next is None else self._next[1][0]

    def next_token(self) -> PlacedToken:
        assert self._next is not None
        token, self._next = self._next, next(self._tokens, None)
        return token


def _next_piece(ours: _Side, theirs: _Side) -> ComparedSpan:
    tokens: tuple[list[PlacedToken], list[PlacedToken]] = ([], [])
    end = -1  # of the tokens so far
    while True:
        # Sides without a token yet, or whose next token begins within the span.
        waiting = [
            index
            for index, side in enumerate((ours, theirs))
            if side.start < math.inf and (side.start < end or not tokens[index])
        ]
        if not waiting:
            return ComparedSpan(tuple(tokens[0]), tuple(tokens[1]))
        index = min(waiting, key=lambda index: (ours, theirs)[index].start)
        token = (ours, theirs)[index].next_token()
        tokens[index].append(token)
        end = max(end, token[1][1])


@dataclass(slots=True)
class Comparison:
    """Running totals over the spans that both models have scored.

    A span with a token that one model could not score is left out.
    """

    unit: Unit
    compared: int = 0
    logprob: float = 0.0
    """Sum of the first model's logprobs, in nats."""
    other_logprob: float = 0.0
    more: int = 0
    """Spans that are more probable under the other model, by at least `NOTICEABLE`."""
    less: int = 0
    """Spans that are less probable under the other model, by at least `NOTICEABLE`."""
    tokens: int = 0
    """All tokens of the first model."""
    other_tokens: int = 0
    scored: int = 0
    """Tokens of the first model in the compared spans."""
    other_scored: int = 0
    characters: int = 0
    """Characters of the compared text, once `measure` was called; `bytes` likewise."""
    bytes: int = 0
    is_partial: bool = False
    """Whether a model scored tokens that are left out."""
    _left_out: list[Span] = field(default_factory=list)

    def add(self, piece: ComparedSpan) -> None:
        own, other, difference = piece.logprob, piece.other_logprob, piece.bits
        self.tokens += len(piece.tokens)
        self.other_tokens += len(piece.others)
        if own is None or other is None or difference is None:
            self._leave_out(piece)
            return
        self.compared += 1
        self.scored += len(piece.tokens)
        self.other_scored += len(piece.others)
        self.logprob += own
        self.other_logprob += other
        self.more += difference >= NOTICEABLE
        self.less += difference <= -NOTICEABLE

    def _leave_out(self, piece: ComparedSpan) -> None:
        self.is_partial |= any(
            token.logprob is not None for token, _ in (*piece.tokens, *piece.others)
        )
        self._left_out.append(piece.span)

    def measure(self, text: str) -> None:
        """Count the characters and bytes of the compared part of `text`."""
        kept, end = [], 0
        for first, last in self._left_out:
            kept.append(text[end:first])
            end = max(end, last)
        compared = "".join((*kept, text[end:])) if self.compared else ""
        self.characters = len(compared)
        self.bytes = len(compared.encode("utf-8", "surrogatepass"))

    def sums(self) -> tuple[Sums, Sums]:
        """Return the totals of the compared text by the first model and by the other.
        Only these compare the models where one has scored more of the text."""
        size = self.characters, self.bytes
        own, other = (
            (self.logprob, self.scored, self.tokens),
            (self.other_logprob, self.other_scored, self.other_tokens),
        )
        return Sums("this", *own, *size), Sums("other", *other, *size)

    def merge(self, other: Comparison) -> None:
        """Add the totals of another text."""
        self.unit = self.unit if self.unit == other.unit else "span"
        self.is_partial |= other.is_partial
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def bits(self) -> float | None:
        """The difference over the whole text, in bits; None without spans."""
        return (self.other_logprob - self.logprob) / LN2 if self.compared else None


_SUMS = ("compared", "logprob", "other_logprob", "more", "less", "tokens",
         "other_tokens", "scored", "other_scored", "characters", "bytes")  # fmt: skip


def common_figures(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Return formatted totals of the text that both models scored: label, value of the
    first model, value of the other."""
    own, other = comparison.sums()
    surprisal, rate = notation.surprisal, notation.rate
    return [
        ("bits, both scored", surprisal(own.known), surprisal(other.known)),
        ("bits/byte, both scored", rate(own.bits_per_byte), rate(other.bits_per_byte)),
    ]
