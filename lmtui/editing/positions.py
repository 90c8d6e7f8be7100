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


def parsed(line_col: str) -> tuple[int, int]:
    """Return the line and the column of a location such as `12:5`.

    Raises:
        LmtuiError: the text is not a location.
    """
    if not (match := _PLACE.fullmatch(line_col.strip())):
        hint = "Give a line and a column that count from 1, for example 12:5."
        raise LmtuiError("this is not a LINE:COL", line_col, hint)
    return int(match[1]), int(match[2])


def nearest_offset(text: str, line: int, column: int) -> int:
    """Return the offset of a location; beyond the end of its line or of the text, that
    end."""
    start = 0
    for _ in range(line - 1):
        if (end := text.find("\n", start)) < 0:
            return len(text)
        start = end + 1
    return min(start + max(1, column) - 1, _line(text, start)[1])


def offset_of(text: str, line: int, column: int) -> int:
    """Return the offset of a location; the end of a line is one too.

    Raises:
        LmtuiError: the text has no such location.
    """
    offset, lines = nearest_offset(text, line, column), text.split("\n")
    if location_of(text, offset) == (line, column):
        return offset
    if not 1 <= line <= len(lines):
        detail = f"line {line}; the text has {counted(len(lines), 'line')}"
        raise LmtuiError("there is no such line", detail, _HINT)
    length = counted(len(lines[line - 1]), "character")
    detail = f"column {column}; line {line} has {length}"
    raise LmtuiError("there is no such column", detail, _HINT)


def offset_named(text: str, line_col: str) -> int:
    """Return the nearest offset of a location: LINE:COL, or LINE for the beginning of a
    line.

    Raises:
        LmtuiError: `line_col` is not a location.
    """
    line_col = line_col.strip()
    return nearest_offset(
        text, *parsed(f"{line_col}:1" if _LINE.fullmatch(line_col) else line_col)
    )


def location_of(text: str, offset: int) -> tuple[int, int]:
    line = text.count("\n", 0, offset) + 1
    return line, offset - text.rfind("\n", 0, offset)


def paragraph_at(text: str, position: int) -> tuple[int, int]:
    """Return start and end of the paragraph at an offset, without its last line break.

    On a blank line both are the offset.
    """
    start, end = _line(text, position)
    if not text[start:end].strip():
        return position, position
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


def _line(text: str, position: int) -> tuple[int, int]:
    end = text.find("\n", position)
    return text.rfind("\n", 0, position) + 1, len(text) if end < 0 else end
