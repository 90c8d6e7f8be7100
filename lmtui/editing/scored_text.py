"""The token scores of a text that is being edited.

Moves scores with the text on an edit, and marks as stale all that follow it, since a
token's score depends on everything before it. Tokens are kept by line, so that an edit
moves lines and not every token. Knows no engine and no screen.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, chain

from lmtui.engine.document.types import ScoredSpan
from lmtui.engine.text.text_diff import changed
from lmtui.engine.types import ScoredToken

_WHOLE = sys.maxsize  # value of `_fresh` for a line that is fresh to its end


@dataclass(frozen=True, slots=True)
class TokenAt:
    start: int
    """Offset in code points: in the text, or in the line while it is stored."""
    end: int
    token: ScoredToken
    shared: int
    """Number of its code points that earlier tokens share."""

    def moved(self, by: int) -> TokenAt:
        return replace(self, start=self.start + by, end=self.end + by)


@dataclass(frozen=True, slots=True)
class Sum:
    """Totals of the tokens of a span."""

    logprob: float = 0.0
    """Sum over the scored tokens, in nats."""
    scored: int = 0
    tokens: int = 0
    characters: int = 0
    """Code points of the scored tokens; `bytes` is their length in bytes."""
    bytes: int = 0
    covered: int = 0
    """Code points of all tokens, scored or not."""

    def __add__(self, other: Sum) -> Sum:
        return Sum(
            self.logprob + other.logprob,
            self.scored + other.scored,
            self.tokens + other.tokens,
            self.characters + other.characters,
            self.bytes + other.bytes,
            self.covered + other.covered,
        )


class ScoredText:
    """The tokens of a text, line by line, and which of their scores are fresh."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._starts = _starts(text)
        self.forget()

    def update(self, text: str) -> int:
        """Take the text after an edit; return the offset from which scores are now
        stale."""
        first, old_end, new_end = changed(self.text, text)
        if first == old_end == new_end:
            return len(text)
        top, bottom = self.line_of(first), self.line_of(old_end)
        column = first - self._starts[top]
        joins = text[first : first + 1]
        head = [p for p in self._lines[top] if _survives(p, column, joins, text, first)]
        below = old_end - self._starts[bottom]
        tail = [p for p in self._lines[bottom] if p.start >= below]
        self._drop_reaching(top, first)
        added = text.count("\n", first, new_end)
        last = new_end - (text.rfind("\n", 0, new_end) + 1)
        tail = [p.moved(last - below) for p in tail]
        fresh = min(self._fresh[top], head[-1].end if head else 0)
        if added:
            lines = [head, *([] for _ in range(added - 1)), tail]
        else:
            lines = [head + tail]
        part = slice(top, bottom + 1)
        self._lines[part] = lines
        self._sums[part] = [None] * len(lines)
        later = len(self._fresh) - bottom - 1
        self._fresh[top:] = [fresh] + [0] * (added + later)
        self.text, self._starts = text, _starts(text)
        return first

    def put(self, stretch: ScoredSpan) -> None:
        if not stretch.spans:
            return
        start, end = stretch.spans[0][0], stretch.spans[-1][1]
        top, bottom = self.line_of(start), self.line_of(max(start, end - 1))
        self._drop_reaching(top, start)
        for line in range(top, bottom + 1):
            base = self._starts[line]
            self._lines[line] = [
                p
                for p in self._lines[line]
                if p.end + base <= start or p.start + base >= end
            ]
        before = 0
        for token, span in zip(stretch.tokens, stretch.spans, strict=True):
            line = self.line_of(span[0])
            base = self._starts[line]
            placed = TokenAt(
                span[0] - base, span[1] - base, token, max(0, before - span[0])
            )
            self._lines[line].append(placed)
            before = span[1]
        for line in range(top, bottom + 1):
            # A stable sort: tokens that share a character keep their order.
            self._lines[line].sort(key=lambda p: p.start)
            self._sums[line] = None
        self.settle(start, end)

    def settle(self, start: int, end: int) -> None:
        """Mark a span as fresh, including characters that belong to no token."""
        for line in range(self.line_of(start), self.line_of(max(start, end - 1)) + 1):
            base = self._starts[line]
            if start - base > self._fresh[line]:
                continue  # the line's beginning, before the span, is stale
            reach = end - base
            whole = reach >= self._length(line)
            self._fresh[line] = _WHOLE if whole else max(self._fresh[line], reach)

    def forget(self) -> None:
        """Remove all scores, for another model."""
        count = len(self._starts)
        self._lines: list[list[TokenAt]] = [[] for _ in range(count)]
        self._fresh = [0] * count  # column up to which a line's tokens are fresh
        self._sums: list[Sum | None] = [None] * count

    # Queries.

    def line_of(self, position: int) -> int:
        return bisect_right(self._starts, position) - 1

    def tokens(self, start: int = 0, end: int | None = None) -> Iterator[TokenAt]:
        """Yield the tokens that begin from `start` to before `end`, in order."""
        end = len(self.text) if end is None else end
        for line in range(self.line_of(start), self.line_of(end) + 1):
            base = self._starts[line]
            for placed in self._lines[line]:
                if start <= placed.start + base < end:
                    yield placed.moved(base)

    def is_fresh(self, line: int) -> bool:
        return self._fresh[line] >= self._length(line)

    def stale(self, start: int = 0, end: int | None = None) -> bool:
        end = len(self.text) if end is None else end
        for line in range(self.line_of(start), self.line_of(end) + 1):
            wanted = min(end - self._starts[line], self._length(line))
            if self._fresh[line] < wanted and wanted > start - self._starts[line]:
                return True
        return False

    def stale_parts(self) -> Iterator[tuple[int, int]]:
        """Yield the stale spans, one a line."""
        for line, start in enumerate(self._starts):
            if not self.is_fresh(line):
                yield start + self._fresh[line], start + self._length(line)

    def next_span(
        self, first: int, last: int, *, length: int, whole: bool = True
    ) -> tuple[int, int] | None:
        """Return the span to score next, of at most about `length` code points.

        Stale text of the lines `first` to `last` comes first, then with `whole` that of
        all lines. None when nothing is stale.
        """
        last = min(last, len(self._lines) - 1)
        seen, everything = range(first, last + 1), range(len(self._lines))
        for lines in (seen, everything) if whole else (seen,):
            line = next((i for i in lines if not self.is_fresh(i)), None)
            if line is not None:
                start = self._starts[line] + self._fresh[line]
                limit = self._starts[last + 1 :][:1] if lines.stop == last + 1 else []
                end = min(start + length, *limit, len(self.text))
                return start, max(end, min(start + 1, len(self.text)))
        return None

    def sum(self, start: int = 0, end: int | None = None) -> Sum:
        end = len(self.text) if end is None else end
        top, bottom = self.line_of(start), self.line_of(end)
        total = Sum()
        for line in range(top, bottom + 1):
            if not self._lines[line]:
                continue  # in a long text, most lines are never scored
            base = self._starts[line]
            inside = start <= base and end >= base + self._length(line)
            total += (
                self._line_sum(line)
                if inside
                else _sum(p for p in self._lines[line] if start <= p.start + base < end)
            )
        return total

    def is_covered(self, start: int, end: int) -> bool:
        """Return whether each character of a span belongs to a token that is stored."""
        covered = self.sum(start, end).covered
        for edge, sign in ((start, 1), (end, -1)):
            before = self._last_before(edge)
            covered += sign * max(0, (before.end if before else 0) - edge)
        return covered >= end - start

    # Helpers.

    def _last_before(self, position: int) -> TokenAt | None:
        for line in range(self.line_of(position), -1, -1):
            base = self._starts[line]
            before = [p for p in self._lines[line] if p.start + base < position]
            if before:
                return before[-1].moved(base)
        return None

    def _length(self, line: int) -> int:
        """Return the code points of a line, with its newline."""
        following = self._starts[line + 1 : line + 2]
        return (following[0] if following else len(self.text)) - self._starts[line]

    def _line_sum(self, line: int) -> Sum:
        known = self._sums[line]
        if known is None:
            known = self._sums[line] = _sum(self._lines[line])
        return known

    def _drop_reaching(self, line: int, position: int) -> None:
        """Drop the tokens of earlier lines that reach beyond an offset."""
        for above in range(line - 1, -1, -1):
            tokens, base = self._lines[above], self._starts[above]
            if tokens and tokens[-1].end + base > position:
                while tokens and tokens[-1].end + base > position:
                    tokens.pop()
                self._sums[above] = None
                reach = tokens[-1].end if tokens else 0
                self._fresh[above] = min(self._fresh[above], reach)
            elif tokens:
                return


def _survives(placed: TokenAt, column: int, joins: str, text: str, at: int) -> bool:
    """Return whether a token before the edit is still valid.

    It must end before the edit, or not form one word with what now follows it.
    """
    if placed.end != column:
        return placed.end < column
    return not (joins.isalnum() and text[at - 1 : at].isalnum())


def _starts(text: str) -> list[int]:
    lengths = (len(line) + 1 for line in text.split("\n"))
    return list(accumulate(chain([0], lengths)))[:-1]


def _sum(tokens: Iterable[TokenAt]) -> Sum:
    logprob, scored, count, characters, size, covered = 0.0, 0, 0, 0, 0, 0
    for placed in tokens:
        count += 1
        own = placed.end - placed.start - placed.shared
        covered += own
        if placed.token.logprob is None:
            continue
        scored += 1
        logprob += placed.token.logprob
        size += len(placed.token.bytes)
        characters += own
    return Sum(logprob, scored, count, characters, size, covered)
