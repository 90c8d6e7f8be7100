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
from pathlib import Path

from lmtui import paths
from lmtui.engine.words import can_cut
from lmtui.errors import LmtuiError


def ignored_words() -> frozenset[str]:
    """The words to ignore; waits for the disk."""
    return frozenset(_words() or ())


def ignore(word: str) -> bool:
    """Ignore `word` from now on; whether that will be remembered."""
    word = word.strip()
    words = _words()
    if words is None or not _is_one_line(word):
        return False
    return word in words or _write([*words, word])


def heed(word: str) -> bool:
    """No longer ignore `word`; whether that will be remembered."""
    words = _words()
    if words is None:
        return False
    rest = [other for other in words if other != word.strip()]
    return rest == words or _write(rest)


def _file() -> Path:
    return paths.data_folder() / "ignored-words.txt"


def _words() -> list[str] | None:
    """The words in the file's order; None where it can't be read, so that it is not
    written over."""
    try:
        text = _file().read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return None
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line]


def _is_one_line(word: str) -> bool:
    return bool(word) and "\n" not in word


def _write(words: Iterable[str]) -> bool:
    data = "".join(f"{word}\n" for word in words)
    try:
        paths.ensure_folder(paths.data_folder())
        paths.write_atomically(_file(), data.encode("utf-8", "surrogateescape"))
    except (OSError, ValueError, LmtuiError):
        return False
    return True


_WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)

MOST = 20
"""How many places a list of the most surprising ones has."""


@dataclass(frozen=True, slots=True)
class SurprisingToken:
    """A token that was scored: where it stands and how unlikely it was."""

    start: int
    end: int
    bits: float
    rank: int | None = None
    """1 + the number of tokens that were more probable."""


@dataclass(frozen=True, slots=True)
class SurprisingWord:
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
    tokens: Iterable[SurprisingToken],
    *,
    threshold: float,
    ignored: Collection[str] = (),
) -> list[SurprisingWord]:
    """The words of at least `threshold` bits that are not ignored, in order.

    `tokens` are in order and within the text.
    """
    found: list[SurprisingToken] = []
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
            found[-1] = SurprisingToken(start, end, worse.bits, worse.rank)
        else:
            found.append(SurprisingToken(start, end, token.bits, token.rank))
        taken = end
    named = (_named(text, each) for each in found)
    return [place for place in named if place.word not in ignored]


def next_from(places: Sequence[SurprisingWord], cursor: int) -> SurprisingWord | None:
    """The first place behind a cursor, else the first of all."""
    if not places:
        return None
    after = bisect_right(places, cursor, key=lambda place: place.start)
    return places[after % len(places)]


def before_from(places: Sequence[SurprisingWord], cursor: int) -> SurprisingWord | None:
    """The last place that begins before a cursor, else the last of all."""
    if not places:
        return None
    return places[bisect_left(places, cursor, key=lambda place: place.start) - 1]


def most_surprising(
    places: Iterable[SurprisingWord], count: int = MOST
) -> list[SurprisingWord]:
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


def _named(text: str, found: SurprisingToken) -> SurprisingWord:
    """The words alone, without the signs around them, if there are any words."""
    start, end = found.start, found.end
    if words := _WORDS.search(text, start, end):
        start, end = words.span()
    return SurprisingWord(start, end, text[start:end], found.bits, found.rank)
