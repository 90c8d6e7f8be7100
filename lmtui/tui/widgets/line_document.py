"""A document of a text area that keeps every character: only newlines end lines.

Locations are (line, column) from 0, offsets and columns in code points. Knows no
widget.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from textual.document._document import Document, EditResult, Location


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """The text between two locations was replaced."""

    top: Location
    bottom: Location
    """End of the replaced text."""
    end: Location
    """End of the new text."""

    @property
    def lines(self) -> int:
        """The number of lines added."""
        return self.end[0] - self.bottom[0]


class LineDocument(Document):
    """A document whose lines are those of `text.split("\\n")`."""

    def __init__(self, text: str) -> None:
        super().__init__("")
        self._lines: list[str] = text.split("\n")
        self._text: str | None = text
        self._starts: list[int] | None = None
        self._words: int | None = None
        self.on_change: Callable[[DocumentChange], None] | None = None
        """Called after each change, also by undo and redo."""

    @property
    def text(self) -> str:
        if self._text is None:
            self._text = "\n".join(self._lines)
        return self._text

    @property
    def characters(self) -> int:
        return self._line_starts()[-1] - 1

    @property
    def words(self) -> int:
        if self._words is None:
            self._words = _words(self._lines)
        return self._words

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        top, bottom = sorted((min(start, self.end), min(end, self.end)))
        replaced = self.get_text_range(top, bottom)
        old_lines = self._lines[top[0] : bottom[0] + 1]
        new_lines = text.split("\n")
        new_lines[0] = self._lines[top[0]][: top[1]] + new_lines[0]
        new_lines[-1] += self._lines[bottom[0]][bottom[1] :]
        self._lines[top[0] : bottom[0] + 1] = new_lines
        if self._words is not None:
            self._words += _words(new_lines) - _words(old_lines)
        self._text = self._starts = None
        result = EditResult(end_of(top, text), replaced)
        if self.on_change is not None:
            self.on_change(DocumentChange(top, bottom, result.end_location))
        return result

    def around(self, location: Location, count: int) -> tuple[str, str]:
        """Return at most `count` characters before a location, and after it."""
        row, column = location
        before, after = self._lines[row][:column], self._lines[row][column:]
        above, below = row - 1, row + 1
        while len(before) < count and above >= 0:
            before = f"{self._lines[above]}\n{before}"
            above -= 1
        while len(after) < count and below < len(self._lines):
            after = f"{after}\n{self._lines[below]}"
            below += 1
        return before[-count:], after[:count]

    def get_index_from_location(self, location: Location) -> int:
        return self._line_starts()[location[0]] + location[1]

    def get_location_from_index(self, index: int) -> Location:
        """Return the location of an offset; the end of the text for a larger one."""
        starts = self._line_starts()
        index = max(0, min(index, starts[-1] - 1))
        line = bisect_right(starts, index) - 1
        return line, index - starts[line]

    def _line_starts(self) -> list[int]:
        """Return the offset of each line, and of a line behind the last one
        (cached)."""
        if self._starts is None:
            lengths = (len(line) + 1 for line in self._lines)
            self._starts = list(accumulate(lengths, initial=0))
        return self._starts


def end_of(location: Location, text: str) -> Location:
    lines = text.count("\n")
    if not lines:
        return location[0], location[1] + len(text)
    return location[0] + lines, len(text) - text.rfind("\n") - 1


def _words(lines: list[str]) -> int:
    return sum(len(line.split()) for line in lines)
