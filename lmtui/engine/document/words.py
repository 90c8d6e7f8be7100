"""Word boundaries in plain text.

A word is letters and digits with what joins them, or one character of a script without
spaces, or one emoji with its parts. Knows no tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_HOLDS = "_'’"  # characters inside a word, as in don't
_IN_NUMBERS = ".,"
_JOINER = "\u200d"
# Scripts without spaces, in which each character may end a word.
_SPACELESS = (
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NEAR = 20_000  # code points on each side in which words are looked for
_PARTS = ((0x1F3FB, 0x1F3FF), (0x1F1E6, 0x1F1FF), (0xE0020, 0xE007F))
"""Skin tones, flag letters and tags: parts of one emoji."""


def in_word(character: str) -> bool:
    """Return whether a character joins the word beside it."""
    return (character.isalnum() or character in _HOLDS) and not _spaceless(character)


def word_end(text: str, limit: int) -> int:
    """Return the last place, at most `limit`, at which `text` can be cut; 0 if there is
    none.

    Text after `limit` is looked at. The end of `text` counts only where a word can't go
    on, whatever follows.
    """
    return next((i for i in range(limit, 0, -1) if can_cut(text, i)), 0)


def can_cut(text: str, position: int) -> bool:
    """Return whether no word of `text` crosses `position`."""
    if position == 0:
        return True
    before, after = text[position - 1], text[position : position + 1]
    if not after:
        return _closes(before) and not _number(text + "0", position)
    if not _closes(before) and (_extends(after) or before == _JOINER):
        return False
    # A combining mark belongs to the letter before it, and so to the word.
    inside = (in_word(before) or _is_mark(before)) and in_word(after)
    return not inside and not _number(text, position)


def word_at(text: str, position: int) -> tuple[int, int]:
    """Return start and end of the word that `position` is in, or at either end of;
    (position, position) if there is none."""
    start = end = position
    if not in_word(text[position : position + 1] or " ") and position:
        start -= 1
    while start > 0 and not can_cut(text, start):
        start -= 1
    if not in_word(text[start : start + 1] or " "):
        return position, position
    end = start + 1
    while end < len(text) and not can_cut(text, end):
        end += 1
    return start, end


def spans_of_words(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each word of a text, without those that are joined by an
    underscore or a point, or written in a script without spaces."""
    for match in _WORDS.finditer(text):
        start, end = match.span()
        whole = can_cut(text, start) and (end == len(text) or can_cut(text, end))
        if whole and all(map(in_word, match.group())):
            yield start, end


def words_like(text: str, start: int, end: int, *, count: int) -> list[str]:
    """Return up to `count` different words of `text` with the letter case of the one
    from `start` to `end`, the nearest first."""
    first = max(0, start - _NEAR)
    part, case = text[first : end + _NEAR], letter_case(text[start:end])
    spans = spans_of_words(part)
    near = sorted(spans, key=lambda span: abs(span[0] + first - start))
    words = dict.fromkeys(part[a:b] for a, b in near)
    return [word for word in words if letter_case(word) == case][:count]


def letter_case(word: str) -> str:
    """Return how a word is written: `lower`, `title`, `upper`, `mixed`, or `none` where
    it has no cased letter."""
    if not any(character.isupper() or character.islower() for character in word):
        return "none"
    tests = {"lower": str.islower, "title": str.istitle, "upper": str.isupper}
    return next((name for name, test in tests.items() if test(word)), "mixed")


def _number(text: str, position: int) -> bool:
    """Return whether a number crosses `position`, at its point or comma, or may do
    so."""
    if text[position] in _IN_NUMBERS:
        after = text[position + 1 : position + 2]
        return text[position - 1].isdigit() and (not after or after.isdigit())
    before = text[position - 2 : position - 1]
    return (
        text[position - 1] in _IN_NUMBERS
        and before.isdigit()
        and text[position].isdigit()
    )


def _closes(character: str) -> bool:
    """Return whether a character ends a word, whatever follows."""
    if character in _HOLDS:
        return False
    return character.isspace() or unicodedata.category(character)[0] == "P"


def _extends(character: str) -> bool:
    """Return whether a character only modifies the one before it."""
    joins = character == _JOINER or _among(character, _PARTS)
    return joins or _is_mark(character)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def _spaceless(character: str) -> bool:
    return _among(character, _SPACELESS)


def _among(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= ord(character) <= high for low, high in ranges)
