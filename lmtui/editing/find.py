"""Finding words in a text, and putting others in their place.

Owns what matches: the words as they are written, upper and lower case alike unless
they have a capital. Matches never overlap; the first one is taken first. Knows no
screen.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

Span = tuple[int, int]
"""Start and end, in code points."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Where the words are in a text, in order."""

    starts: Sequence[int] = ()
    length: int = 0
    """Of every match, in code points."""

    def __len__(self) -> int:
        return len(self.starts)

    def span(self, number: int) -> Span:
        """Start and end of one match."""
        start = self.starts[number]
        return start, start + self.length

    def spans(self) -> tuple[Span, ...]:
        """Start and end of all."""
        return tuple((start, start + self.length) for start in self.starts)

    def within(self, low: int, high: int) -> tuple[Span, ...]:
        """Start and end of those that have a part of a stretch."""
        first = bisect_right(self.starts, low - self.length)
        end = bisect_left(self.starts, high)
        return tuple(map(self.span, range(first, end)))

    def from_place(self, place: int) -> int | None:
        """The first match at or behind a place, else the first of all."""
        if not self.starts:
            return None
        return bisect_left(self.starts, place) % len(self.starts)

    def before_place(self, place: int) -> int | None:
        """The last match that begins before a place, else the last of all."""
        if not self.starts:
            return None
        return (bisect_left(self.starts, place) - 1) % len(self.starts)


def find(text: str, words: str) -> Matches:
    """Everywhere that `words` stand in `text`; nowhere if there are none."""
    if not words:
        return Matches()
    flags = re.NOFLAG if has_capital(words) else re.IGNORECASE
    found = re.finditer(re.escape(words), text, flags)
    return Matches([match.start() for match in found], len(words))


def has_capital(words: str) -> bool:
    """Whether upper and lower case are told apart."""
    return any(character.isupper() for character in words)


def replaced(text: str, spans: Sequence[Span], by: str) -> str:
    """`text` with `by` in the place of each span; they are in order."""
    parts: list[str] = []
    end = 0
    for start, following in spans:
        parts += (text[end:start], by)
        end = following
    return "".join((*parts, text[end:]))
