"""The places of a text that surprised the model, as words to look at.

Owns which places there are: whole words, each as surprising as its most surprising
token, but for the words to ignore; and the way from one to the next. Places are code
points from the beginning of the text. Knows no tokens beyond their spans, no screen.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lmtui.engine.words import can_cut

_WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)

MOST = 20
"""How many places a list of the most surprising ones has."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """A token that was scored: where it stands and how unlikely it was."""

    start: int
    end: int
    bits: float
    rank: int | None = None
    """1 + the number of tokens that were more probable."""


@dataclass(frozen=True, slots=True)
class Place:
    """A word that surprised."""

    start: int
    end: int
    word: str
    bits: float
    """Of its most surprising token."""
    rank: int | None
    """Of the same token."""


def places_of(
    text: str,
    tokens: Iterable[Surprise],
    *,
    threshold: float,
    ignored: Collection[str] = (),
) -> list[Place]:
    """The words of at least `threshold` bits that are not ignored, in order.

    `tokens` are in order and within the text.
    """
    found: list[Surprise] = []
    taken = 0  # where the last of them ends
    for token in tokens:
        if token.bits < threshold or token.start >= token.end:
            continue
        start, end = token.start, token.end
        if end > taken:
            start, end = _grown(text, start, end, least=taken)
        if start < taken:
            last = found[-1]
            worse = token if token.bits > last.bits else last
            start, end = last.start, max(taken, end)
            found[-1] = Surprise(start, end, worse.bits, worse.rank)
        else:
            found.append(Surprise(start, end, token.bits, token.rank))
        taken = end
    named = (_named(text, each) for each in found)
    return [place for place in named if place.word not in ignored]


def next_from(places: Sequence[Place], cursor: int) -> Place | None:
    """The first place behind a cursor, else the first of all."""
    if not places:
        return None
    after = bisect_right(places, cursor, key=lambda place: place.start)
    return places[after % len(places)]


def before_from(places: Sequence[Place], cursor: int) -> Place | None:
    """The last place that begins before a cursor, else the last of all."""
    if not places:
        return None
    return places[bisect_left(places, cursor, key=lambda place: place.start) - 1]


def most_surprising(places: Iterable[Place], count: int = MOST) -> list[Place]:
    """The most surprising places first; of equals the earlier."""
    return sorted(places, key=lambda place: (-place.bits, place.start))[:count]


def _grown(text: str, start: int, end: int, *, least: int) -> tuple[int, int]:
    """A token with the rest of the words that it is a part of, but for what is before
    `least`; without the white space around them."""
    inner = text[start:end]
    if not (word := inner.strip()):
        return start, end
    start += inner.index(word)
    end = start + len(word)
    while start > least and not can_cut(text, start):
        start -= 1
    while end < len(text) and not can_cut(text, end):
        end += 1
    return start, end


def _named(text: str, found: Surprise) -> Place:
    """The words alone, without the signs around them, if there are any words."""
    start, end = found.start, found.end
    if words := _WORDS.search(text, start, end):
        start, end = words.span()
    return Place(start, end, text[start:end], found.bits, found.rank)
