"""Which characters of a text are how surprising, line by line, while it is edited.

An edit costs what is marked in the lines that it touches; the marks of other lines
move along with them. Owns what becomes of marks that an edit cuts. Knows no widget and
no style.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from lmtui.tui.widgets.line_document import Change, LineDocument


@dataclass(frozen=True, slots=True)
class HeatSpan:
    """How surprising a piece of a text is."""

    start: int
    """In code points of the text."""
    end: int
    level: int
    """A step as in `surprise`."""
    bits: float = 0.0
    """Its surprisal."""
    stale: bool = False
    """Whether the text before it has changed since it was scored."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A piece of one line; its newline is the character behind the last one."""

    start: int
    """In code points of the line."""
    end: int
    level: int
    bits: float
    stale: bool


Marks = tuple[Mark, ...]


class HeatMarks:
    """The marks of each line, in order."""

    def __init__(self, lines: int = 1) -> None:
        self._marks: list[Marks] = [()] * lines
        self._stale = bytearray(lines)
        """Whether all marks of a line are stale, whatever they say themselves."""

    def of(self, line: int) -> Marks:
        """The marks of a line."""
        if self._stale[line]:
            self._stale[line] = 0
            self._marks[line] = _made_stale(self._marks[line], 0, sys.maxsize)
        return self._marks[line]

    def between(self, line: int, low: int, high: int) -> Marks:
        """Those marks of a line that are over columns from `low` to `high`."""
        marks = self.of(line)
        first = bisect_right(marks, low, key=lambda mark: mark.end)
        return marks[first : bisect_left(marks, high, key=lambda mark: mark.start)]

    def bits(self, line: int) -> float | None:
        """The sum of what begins in a line; None where nothing was scored."""
        marks = self._marks[line]
        return sum(mark.bits for mark in marks) if marks else None

    def follow(self, change: Change) -> None:
        """The text was edited: what it touched is gone, what is behind it moves."""
        top, bottom, end = change.top, change.bottom, change.end
        head = tuple(mark for mark in self.of(top[0]) if mark.end <= top[1])
        shift = end[1] - bottom[1]
        tail = tuple(
            replace(mark, start=mark.start + shift, end=mark.end + shift)
            for mark in self.of(bottom[0])
            if mark.start >= bottom[1]
        )
        lines: list[Marks] = [()] * (end[0] - top[0] + 1)
        lines[0] = head
        lines[-1] += tail
        self._marks[top[0] : bottom[0] + 1] = lines
        self._stale[top[0] : bottom[0] + 1] = bytes(len(lines))

    def put(
        self, spans: Iterable[HeatSpan], document: LineDocument, start: int, end: int
    ) -> None:
        """Mark these spans, in order, in the place of all marks from `start` to
        `end`. Spans that share a character become one, as hot as the hottest."""
        top, bottom = map(document.get_location_from_index, (start, end))
        found: dict[int, list[Mark]] = {}
        for span in _united(spans):
            for line, mark in _cut(span, document):
                found.setdefault(line, []).append(mark)
        for line in range(top[0], bottom[0] + 1):
            low = top[1] if line == top[0] else 0
            whole = line < bottom[0]
            before = [mark for mark in self.of(line) if mark.end <= low]
            after = [
                mark for mark in self.of(line) if not whole and mark.start >= bottom[1]
            ]
            self._marks[line] = (*before, *found.get(line, ()), *after)

    def make_stale(self, document: LineDocument, start: int, end: int) -> None:
        """What begins from `start` to `end` no longer follows what it was scored
        with."""
        top, bottom = map(document.get_location_from_index, (start, end))
        for line in {top[0], bottom[0]}:
            low = top[1] if line == top[0] else 0
            high = bottom[1] if line == bottom[0] else len(document[line]) + 1
            self._marks[line] = _made_stale(self.of(line), low, high)
        between = bottom[0] - top[0] - 1
        if between > 0:
            self._stale[top[0] + 1 : bottom[0]] = b"\1" * between


def _made_stale(marks: Marks, low: int, high: int) -> Marks:
    """The marks, those stale that begin from `low` to `high`."""
    return tuple(
        replace(mark, stale=True) if low <= mark.start < high else mark
        for mark in marks
    )


def _united(spans: Iterable[HeatSpan]) -> Iterator[HeatSpan]:
    """The spans with those united that share a character."""
    held: HeatSpan | None = None
    for span in spans:
        if span.start >= span.end:
            continue
        if held is None or span.start >= held.end:
            if held is not None:
                yield held
            held = span
            continue
        held = HeatSpan(
            held.start,
            max(held.end, span.end),
            max(held.level, span.level),
            held.bits + span.bits,
            held.stale or span.stale,
        )
    if held is not None:
        yield held


def _cut(span: HeatSpan, document: LineDocument) -> Iterator[tuple[int, Mark]]:
    """A span, line by line; its bits go with its beginning."""
    line, column = document.get_location_from_index(span.start)
    left, bits = span.end - span.start, span.bits
    while left > 0 and line < document.line_count:
        taken = min(left, len(document[line]) + 1 - column)
        yield line, Mark(column, column + taken, span.level, bits, span.stale)
        left -= taken
        line, column, bits = line + 1, 0, 0.0
