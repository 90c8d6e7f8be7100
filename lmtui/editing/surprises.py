"""Surprising words of a text, and navigation between them.

Tokens are extended to whole words, each with the surprisal of its most surprising
token; ignored words are left out. Offsets are in code points. Knows no screen.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lmtui import paths
from lmtui.engine.document.words import can_cut
from lmtui.errors import LmtuiError
from lmtui.partial import Rank

_WORDS = re.compile(r"\w(?:.*\w)?", re.DOTALL)
MOST = 20
"""Length of a list of the most surprising words."""


def ignored_words() -> frozenset[str]:
    """Return the words to ignore; waits for the disk."""
    return frozenset(_words() or ())


def ignore(word: str) -> bool:
    """Ignore `word` from now on; return whether that is saved."""
    word = word.strip()
    words = _words()
    if words is None or not word or "\n" in word:
        return False
    return word in words or _write([*words, word])


def _file() -> Path:
    return paths.data_folder() / "ignored-words.txt"


def _words() -> list[str] | None:
    """Return the words in the file's order.

    None where the file can't be read, so that it is not overwritten.
    """
    try:
        text = _file().read_bytes().decode("utf-8", "surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return None
    lines = (line.strip() for line in text.split("\n"))
    return [line for line in lines if line]


def _write(words: Iterable[str]) -> bool:
    data = "".join(f"{word}\n" for word in words)
    try:
        paths.ensure_folder(paths.data_folder())
        paths.write_atomically(_file(), data.encode("utf-8", "surrogateescape"))
    except (OSError, ValueError, LmtuiError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class SurprisingToken:
    start: int
    end: int
    bits: float
    rank: Rank | None = None


@dataclass(frozen=True, slots=True)
class SurprisingWord:
    start: int
    end: int
    word: str
    bits: float
    """Surprisal of its most surprising token."""
    rank: Rank | None
    """Rank of the same token."""


def surprising_words(
    text: str,
    tokens: Iterable[SurprisingToken],
    *,
    threshold: float,
    ignored: Collection[str] = (),
) -> list[SurprisingWord]:
    """Return the words of at least `threshold` bits that are not ignored, in order.

    `tokens` are in order and within the text.
    """
    worst: list[SurprisingToken] = []
    last_end = 0
    for token in tokens:
        if token.bits < threshold or token.start >= token.end:
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
    words = (_named(text, token) for token in worst)
    return [word for word in words if word.word not in ignored]


def next_word(words: Sequence[SurprisingWord], cursor: int) -> SurprisingWord | None:
    """Return the first word that begins after the cursor, else the first of all."""
    if not words:
        return None
    after = bisect_right(words, cursor, key=lambda word: word.start)
    return words[after % len(words)]


def previous_word(
    words: Sequence[SurprisingWord], cursor: int
) -> SurprisingWord | None:
    """Return the last word that begins before the cursor, else the last of all."""
    if not words:
        return None
    return words[bisect_left(words, cursor, key=lambda word: word.start) - 1]


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


def _named(text: str, token: SurprisingToken) -> SurprisingWord:
    """Return the words of a span without punctuation around them, if there are any."""
    start, end = token.start, token.end
    if words := _WORDS.search(text, start, end):
        start, end = words.span()
    word = text[start:end]
    return SurprisingWord(start, end, word, token.bits, token.rank)
