"""Where words end in scripts that write none apart.

Owns how a text is laid out for the index of words: each Chinese, Japanese or Korean
character by itself, so that any run of them is found as words that follow each other.
Code points of the text keep their order, and `closed` gives them back with their
places. Knows no database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

GAP = "\x1f"
"""What is put in: a separator that no text has a use for."""

BEGIN, END = "\x1e", "\x1d"
"""What a found word is marked with; no text of the index has them."""

_RANGES = (
    "\u1100-\u11ff"  # Hangul, by letters
    "\u2e80-\u2fdf"  # radicals
    "\u3005-\u3007"  # what repeats a character, and the zero
    "\u3041-\u3098\u309d-\u30ff\u31f0-\u31ff"  # Hiragana and Katakana
    "\u3100-\u312f\u31a0-\u31bf"  # Bopomofo
    "\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\uff66-\uffdc"  # half as wide
    "\U0001b000-\U0001b16f"  # old Kana
    "\U00020000-\U0003ffff"  # Han
)
_CHARACTER = re.compile(f"[{_RANGES}][\u3099\u309a]?")  # with its voiced mark
_BETWEEN = re.compile(rf"(?<=[{_RANGES}\u3099\u309a])\W+(?=[{_RANGES}])")
_CONTROLS = {"\0", GAP, BEGIN, END}  # a NUL would end the text
_UNINDEXED = str.maketrans(dict.fromkeys(_CONTROLS, "\ufffd"))


def spaced(text: str) -> str:
    """A text as it is read into the index of words."""
    if any(character in text for character in _CONTROLS):
        text = text.translate(_UNINDEXED)
    return _CHARACTER.sub(rf"{GAP}\g<0>{GAP}", text)


def runs(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of what stands together in a found text: the index sees no space,
    line or mark between two characters, and finds a run of them across it."""
    start = 0
    for gap in _BETWEEN.finditer(text):
        yield start, gap.start()
        start = gap.end()
    yield start, len(text)


def closed(text: str) -> str:
    """A text of the index without what was put in."""
    return text.replace(GAP, "")
