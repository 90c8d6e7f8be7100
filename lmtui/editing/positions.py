"""Conversion between locations (LINE:COL) and offsets in a text.

Lines and columns count from 1, columns and offsets in code points; only `\\n` ends a
line. Locations that a text does not have are refused.
"""

from __future__ import annotations

import re

from lmtui.errors import LmtuiError
from lmtui.notation import counted

_PLACE = re.compile(r"([0-9]{1,15}):([0-9]{1,15})")
_LINE = re.compile(r"[0-9]{1,15}")

_HINT = "Lines and columns count from 1; columns are characters."


def parsed(place: str) -> tuple[int, int]:
    """Return the line and the column of a location such as `12:5`.

    Raises:
        LmtuiError: the text is not a location.
    """
    if not (match := _PLACE.fullmatch(place.strip())):
        hint = "Give a line and a column that count from 1, for example 12:5."
        raise LmtuiError("this is not a LINE:COL", place, hint)
    return int(match[1]), int(match[2])


def offset_of(text: str, line: int, column: int) -> int:
    """Return the offset of a location; the end of a line is one too.

    Raises:
        LmtuiError: the text has no such location.
    """
    lines = text.count("\n") + 1
    if not 1 <= line <= lines:
        detail = f"line {line}; the text has {counted(lines, 'line')}"
        raise LmtuiError("there is no such line", detail, _HINT)
    start = 0
    for _ in range(line - 1):
        start = text.index("\n", start) + 1
    end = text.find("\n", start)
    length = (len(text) if end < 0 else end) - start
    if not 1 <= column <= length + 1:
        detail = f"column {column}; line {line} has {counted(length, 'character')}"
        raise LmtuiError("there is no such column", detail, _HINT)
    return start + column - 1


def offset_named(text: str, place: str) -> int:
    """Return the offset of a location: LINE:COL, or LINE for the beginning of a line.

    Raises:
        LmtuiError: `place` is not a location, or the text has no such location.
    """
    place = place.strip()
    return offset_of(text, *parsed(f"{place}:1" if _LINE.fullmatch(place) else place))


def location_of(text: str, offset: int) -> tuple[int, int]:
    """Return the line and the column of an offset."""
    line = text.count("\n", 0, offset) + 1
    return line, offset - text.rfind("\n", 0, offset)


def paragraph_at(text: str, place: int) -> tuple[int, int]:
    """Return start and end of the paragraph at an offset, without its last line break.

    On a blank line both are the offset.
    """
    start, end = _line(text, place)
    if not text[start:end].strip():
        return place, place
    while start > 0:
        above, _ = _line(text, start - 1)
        if not text[above:start].strip():
            break
        start = above
    while end < len(text):
        _, below = _line(text, end + 1)
        if not text[end:below].strip():
            break
        end = below
    return start, end


def _line(text: str, place: int) -> tuple[int, int]:
    """Return start and end of the line at an offset."""
    end = text.find("\n", place)
    return text.rfind("\n", 0, place) + 1, len(text) if end < 0 else end
