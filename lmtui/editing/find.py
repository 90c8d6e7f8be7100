"""Find and replace in a text.

Case is ignored unless the search text has a capital. Matches never overlap; the first
one wins. Knows no screen.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Start and end, offsets in code points."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The matches of a search text, in order."""

    starts: Sequence[int] = ()
    length: int = 0
    """Length of every match, in code points."""

    def __len__(self) -> int:
        return len(self.starts)

    def span(self, number: int) -> Span:
        """Return start and end of one match."""
        start = self.starts[number]
        return start, start + self.length

    def spans(self) -> tuple[Span, ...]:
        """Return start and end of every match."""
        return tuple((start, start + self.length) for start in self.starts)

    def within(self, low: int, high: int) -> tuple[Span, ...]:
        """Return the spans of the matches that overlap an interval."""
        first = bisect_right(self.starts, low - self.length)
        end = bisect_left(self.starts, high)
        return tuple(map(self.span, range(first, end)))

    def at_or_after(self, position: int) -> int | None:
        """Return the number of the first match at or after an offset, else the first of
        all."""
        if not self.starts:
            return None
        return bisect_left(self.starts, position) % len(self.starts)

    def before(self, position: int) -> int | None:
        """Return the number of the last match that begins before an offset, else the
        last."""
        if not self.starts:
            return None
        return (bisect_left(self.starts, position) - 1) % len(self.starts)


def find(text: str, words: str) -> Matches:
    """Return all matches of `words` in `text`; none for an empty search text."""
    if not words:
        return Matches()
    flags = re.NOFLAG if has_capital(words) else re.IGNORECASE
    found = re.finditer(re.escape(words), text, flags)
    return Matches([match.start() for match in found], len(words))


def has_capital(words: str) -> bool:
    """Return whether the search is case-sensitive."""
    return any(character.isupper() for character in words)


def replaced(text: str, spans: Sequence[Span], by: str) -> str:
    """Return `text` with `by` in place of each span; the spans are in order."""
    parts: list[str] = []
    end = 0
    for start, following in spans:
        parts += (text[end:start], by)
        end = following
    return "".join((*parts, text[end:]))
