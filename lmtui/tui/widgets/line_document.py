"""The text in a text area, kept exactly: only a newline ends a line.

Textual's own document takes form feeds, U+2028 and their like for line ends, and
writes newlines in their place. Owns where a line begins, what changed, and how many
words and characters there are. Knows no widget.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from textual.document._document import Document, EditResult, Location
from textual.document._syntax_aware_document import SyntaxAwareDocument

if TYPE_CHECKING:
    from tree_sitter import Language


@dataclass(frozen=True, slots=True)
class Change:
    """The text between two locations was replaced."""

    top: Location
    bottom: Location
    """End of what was there before."""
    end: Location
    """End of what is there now."""

    @property
    def lines(self) -> int:
        """How many more lines there are now."""
        return self.end[0] - self.bottom[0]


class LineDocument(Document):
    """A document whose lines are what `text.split("\\n")` says."""

    def __init__(self, text: str) -> None:
        super().__init__("")
        self._lines: list[str] = text.split("\n")
        self._text: str | None = text
        self._starts: list[int] | None = None
        self._words: int | None = None
        self.on_change: Callable[[Change], None] | None = None
        """Called after each change, also by undo and redo."""

    @property
    def text(self) -> str:
        """The whole text; joined once after each change."""
        if self._text is None:
            self._text = "\n".join(self._lines)
        return self._text

    @property
    def characters(self) -> int:
        """How many code points the text has."""
        return self._line_starts()[-1] - 1

    @property
    def words(self) -> int:
        """How many words the text has; counted once, then kept."""
        if self._words is None:
            self._words = _words(self._lines)
        return self._words

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        """Put `text` in the place of what is between two locations."""
        top, bottom = sorted((min(start, self.end), min(end, self.end)))
        replaced = self.get_text_range(top, bottom)
        before = self._lines[top[0] : bottom[0] + 1]
        after = text.split("\n")
        after[0] = self._lines[top[0]][: top[1]] + after[0]
        after[-1] += self._lines[bottom[0]][bottom[1] :]
        self._lines[top[0] : bottom[0] + 1] = after
        if self._words is not None:
            self._words += _words(after) - _words(before)
        self._text = self._starts = None
        result = EditResult(end_of(top, text), replaced)
        if self.on_change is not None:
            self.on_change(Change(top, bottom, result.end_location))
        return result

    def around(self, location: Location, count: int) -> tuple[str, str]:
        """At most so many characters before a location, and after it."""
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
        """How many code points are before a location."""
        return self._line_starts()[location[0]] + location[1]

    def get_location_from_index(self, index: int) -> Location:
        """The location after so many code points; the end where there are fewer."""
        starts = self._line_starts()
        index = max(0, min(index, starts[-1] - 1))
        line = bisect_right(starts, index) - 1
        return line, index - starts[line]

    def _line_starts(self) -> list[int]:
        """Where each line begins, and where one more would."""
        if self._starts is None:
            lengths = (len(line) + 1 for line in self._lines)
            self._starts = list(accumulate(lengths, initial=0))
        return self._starts


class SyntaxLineDocument(SyntaxAwareDocument, LineDocument):
    """The same with the syntax tree of a language."""

    def __init__(self, text: str, language: Language) -> None:
        super().__init__(text, language)

    def _location_to_byte_offset(self, location: Location) -> int:
        row, column = location
        above = sum(map(_bytes, self._lines[:row])) + row
        line = self._lines[row] if row < len(self._lines) else ""
        return above + _bytes(line[:column])


def end_of(location: Location, text: str) -> Location:
    """Where a text ends that begins at a location."""
    lines = text.count("\n")
    if not lines:
        return location[0], location[1] + len(text)
    return location[0] + lines, len(text) - text.rfind("\n") - 1


def _bytes(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode())


def _words(lines: list[str]) -> int:
    return sum(len(line.split()) for line in lines)
