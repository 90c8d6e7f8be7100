"""Surprising words of a text.

Tokens are extended to whole words, each with the surprisal of its most surprising
token. Offsets are in code points. Knows no screen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from lmtui.engine.document.words import can_cut
from lmtui.partial import Rank

_WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)
MOST = 20
"""Length of a list of the most surprising words."""


@dataclass(frozen=True, slots=True)
class SurprisingWord:
    """A token, or the word that it is in."""

    start: int
    end: int
    bits: float
    """Surprisal of its most surprising token."""
    rank: Rank | None = None
    """Rank of the same token."""


def surprising_words(
    text: str, tokens: Iterable[SurprisingWord]
) -> list[SurprisingWord]:
    """Return the words that tokens of the text are in, in order, as these are."""
    worst: list[SurprisingWord] = []
    last_end = 0
    for token in tokens:
        if token.start >= token.end:
            continue
        start, end = token.start, token.end
        if end > last_end:
            start, end = _grown(text, start, end, minimum=last_end)
        if start < last_end:
            last = worst[-1]
            worse = token if token.bits > last.bits else last
            start, end = last.start, max(last_end, end)
            worst[-1] = replace(worse, start=start, end=end)
        else:
            worst.append(replace(token, start=start, end=end))
        last_end = end
    return [_trimmed(text, word) for word in worst]


def most_surprising(words: Iterable[SurprisingWord]) -> list[SurprisingWord]:
    """Return the most surprising words first; the earlier of equal ones first."""
    return sorted(words, key=lambda word: (-word.bits, word.start))[:MOST]


def _grown(text: str, start: int, end: int, *, minimum: int) -> tuple[int, int]:
    """Return a token's span extended to whole words, not before `minimum`.

    White space at its ends is left out.
    """
    inner = text[start:end]
    if not (word := inner.strip()):
        return start, end
    start += inner.index(word)
    end = start + len(word)
    while start > minimum and not can_cut(text, start):
        start -= 1
    while end < len(text) and not can_cut(text, end):
        end += 1
    return start, end


def _trimmed(text: str, word: SurprisingWord) -> SurprisingWord:
    """Return a word without punctuation around it, if anything is left."""
    if found := _WORDS.search(text, word.start, word.end):
        return replace(word, start=found.start(), end=found.end())
    return word
