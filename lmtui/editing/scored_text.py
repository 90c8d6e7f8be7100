"""The token scores of a text that is being edited.

Moves scores with the text on an edit, and marks as stale all that follow it, since a
token's score depends on everything before it. Tokens are kept by line, so that an edit
moves lines and not every token. Columns and offsets are in code points. Knows no engine
and no screen.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from lmtui.engine.document.types import ScoredSpan
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


@dataclass(frozen=True, slots=True)
class LineSpan:
    """A token in a line, or several that share a character."""

    start: int
    """Its first column; `end` is the column behind the last, the newline counting as
    one."""
    end: int
    logprob: float | None
    """In nats; the lowest one of several."""
    stale: bool
    """Whether the text before it has changed since it was scored."""


class ScoredText:
    """The tokens of a text, line by line, and which of their scores are fresh."""

    def __init__(self, lines: Sequence[str]) -> None:
        """`lines` are those of the text, without their newlines. Who edits them in
        place calls `follow` after each edit."""
        self._text = lines
        self._line_starts: list[int] | None = None
        self._reach: int = 0  # how many lines a token reaches into, behind its first
        self.forget()

    def follow(
        self, top: tuple[int, int], bottom: tuple[int, int], end: tuple[int, int]
    ) -> None:
        """Follow an edit: the text from `top` to `bottom` was replaced by what ends at
        `end`, each a line and a column."""
        (first, column), (last, below) = top, bottom
        line = self._text[first]
        head = [p for p in self._lines[first] if _survives(p, column, line)]
        shift = end[1] - below
        tail = [p.moved(shift) for p in self._lines[last] if p.start >= below]
        lines: list[list[TokenAt]] = [[] for _ in range(end[0] - first + 1)]
        lines[0] = head
        lines[-1] = lines[-1] + tail
        fresh = min(self._fresh[first], head[-1].end if head else 0)
        part = slice(first, last + 1)
        self._lines[part] = lines
        self._sums[part] = [None] * len(lines)
        self._fresh[first:] = [fresh] + [0] * (len(self._lines) - first - 1)
        self._line_starts = None
        self._drop_reaching(first, column)

    def put(self, stretch: ScoredSpan) -> None:
        if not stretch.spans:
            return
        start, end = stretch.spans[0][0], stretch.spans[-1][1]
        top, bottom = self.line_of(start), self.line_of(max(start, end - 1))
        self._drop_reaching(top, start - self._starts[top])
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
            self._reach = max(self._reach, self.line_of(span[1] - 1) - line)
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
        count = len(self._text)
        self._lines: list[list[TokenAt]] = [[] for _ in range(count)]
        self._fresh = [0] * count  # column up to which a line's tokens are fresh
        self._sums: list[Sum | None] = [None] * count
        self._reach = 0
        self._line_starts = None

    # Queries.

    @property
    def length(self) -> int:
        """Length of the text, in code points."""
        return self._starts[-1] + len(self._text[-1])

    def line_of(self, position: int) -> int:
        return bisect_right(self._starts, position) - 1

    def tokens(self, start: int = 0, end: int | None = None) -> Iterator[TokenAt]:
        """Yield the tokens that begin from `start` to before `end`, in order."""
        end = self.length if end is None else end
        for line in range(self.line_of(start), self.line_of(end) + 1):
            base = self._starts[line]
            for placed in self._lines[line]:
                if start <= placed.start + base < end:
                    yield placed.moved(base)

    def spans(self, line: int, low: int, high: int) -> list[LineSpan]:
        """Return what columns `low` to before `high` of a line hold of tokens."""
        found: list[LineSpan] = []
        for above in range(max(0, line - self._reach), line + 1):
            tokens = self._lines[above]
            shift = self._starts[line] - self._starts[above]
            first = bisect_right(tokens, low + shift, key=lambda p: p.end)
            end = bisect_left(tokens, high + shift, key=lambda p: p.start)
            for placed in tokens[first:end]:
                span = LineSpan(
                    max(0, placed.start - shift),
                    min(placed.end - shift, self._length(line)),
                    placed.token.logprob,
                    placed.end > self._fresh[above],
                )
                if found and span.start < found[-1].end:
                    found[-1] = _joined(found[-1], span)
                elif max(low, span.start) < span.end:
                    found.append(span)
        return found

    def is_fresh(self, line: int) -> bool:
        return self._fresh[line] >= self._length(line)

    def stale(self, start: int = 0, end: int | None = None) -> bool:
        end = self.length if end is None else end
        for line in range(self.line_of(start), self.line_of(end) + 1):
            wanted = min(end - self._starts[line], self._length(line))
            if self._fresh[line] < wanted and wanted > start - self._starts[line]:
                return True
        return False

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
                end = min(start + length, *limit, self.length)
                return start, max(end, min(start + 1, self.length))
        return None

    def sum(self, start: int = 0, end: int | None = None) -> Sum:
        end = self.length if end is None else end
        top, bottom = self.line_of(start), self.line_of(end)
        total = Sum()
        for line in range(top, bottom + 1):
            if not self._lines[line]:
                continue  # in a long text, most lines are never scored
            base = self._starts[line]
            inside = start <= base and end >= base + self._length(line)
            total += (
                self.line_sum(line)
                if inside
                else _sum(p for p in self._lines[line] if start <= p.start + base < end)
            )
        return total

    def line_sum(self, line: int) -> Sum:
        """Return the totals of the tokens that begin in a line."""
        known = self._sums[line]
        if known is None:
            known = self._sums[line] = _sum(self._lines[line])
        return known

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

    @property
    def _starts(self) -> list[int]:
        """Offset of each line (cached)."""
        if self._line_starts is None:
            lengths = (len(line) + 1 for line in self._text[:-1])
            self._line_starts = list(accumulate(lengths, initial=0))
        return self._line_starts

    def _length(self, line: int) -> int:
        """Return the code points of a line, with its newline."""
        return len(self._text[line]) + (line < len(self._text) - 1)

    def _drop_reaching(self, line: int, column: int) -> None:
        """Drop the tokens of earlier lines that reach beyond a column of a line."""
        for above in range(line - 1, max(-1, line - 1 - self._reach), -1):
            column += self._length(above)
            tokens = self._lines[above]
            if tokens and tokens[-1].end > column:
                while tokens and tokens[-1].end > column:
                    tokens.pop()
                self._sums[above] = None
                reach = tokens[-1].end if tokens else 0
                self._fresh[above] = min(self._fresh[above], reach)


def _survives(placed: TokenAt, column: int, line: str) -> bool:
    """Return whether a token before an edit at a column is still valid; `line` is the
    line as it is now.

    It must end before the edit, or not form one word with what now follows it.
    """
    if placed.end != column:
        return placed.end < column
    before, after = line[column - 1 : column], line[column : column + 1]
    return not (before.isalnum() and after.isalnum())


def _joined(first: LineSpan, then: LineSpan) -> LineSpan:
    logprobs = [span.logprob for span in (first, then) if span.logprob is not None]
    return LineSpan(
        first.start,
        max(first.end, then.end),
        min(logprobs, default=None),
        first.stale or then.stale,
    )


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
