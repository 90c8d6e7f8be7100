"""Word boundaries for scripts without spaces, for the full-text index.

Each Chinese, Japanese or Korean character is indexed as a word, so that any run of them
is found as a phrase. Separators are only inserted, and `closed` removes them. Knows no
database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

GAP = "\x1f"
"""The separator that is inserted, a control character that texts don't use."""

BEGIN, END = "\x1e", "\x1d"
"""Marks around a found word; no indexed text contains them."""

_RANGES = (
    "\u1100-\u11ff"  # Hangul Jamo
    "\u2e80-\u2fdf"  # radicals
    "\u3005-\u3007"  # iteration mark, closing mark, zero
    "\u3041-\u3098\u309d-\u30ff\u31f0-\u31ff"  # Hiragana and Katakana
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\uff66-\uffdc"  # half-width Katakana and Hangul
    "\U0001b000-\U0001b16f"  # historic Kana
    "\U00020000-\U0003ffff"  # Han
)
_CHARACTER = re.compile(f"[{_RANGES}][\u3099\u309a]?")  # with its voicing mark
_BETWEEN = re.compile(rf"(?<=[{_RANGES}\u3099\u309a])\W+(?=[{_RANGES}])")
_CONTROLS = {"\0", GAP, BEGIN, END}  # SQLite ends a text at a NUL
_UNINDEXED = str.maketrans(dict.fromkeys(_CONTROLS, "\ufffd"))


def spaced(text: str) -> str:
    """Return a text as the full-text index reads it."""
    if any(character in text for character in _CONTROLS):
        text = text.translate(_UNINDEXED)
    return _CHARACTER.sub(rf"{GAP}\g<0>{GAP}", text)


def runs(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans of a found text without the gaps inside it.

    The index ignores spaces, line breaks and punctuation between two characters, so a
    phrase is found across them.
    """
    start = 0
    for gap in _BETWEEN.finditer(text):
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def closed(text: str) -> str:
    """Return a text of the index without the inserted separators."""
    return text.replace(GAP, "")
