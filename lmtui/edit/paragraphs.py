"""The paragraph around a place: the lines between two blank ones.

A line is blank where nothing but white space stands in it; only `\\n` ends a line.
Knows no screen.
"""

from __future__ import annotations


def paragraph_at(text: str, place: int) -> tuple[int, int]:
    """Where the paragraph around a place begins and ends, without the line break
    behind it; on a blank line both are the place."""
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
    """Where the line that a place is in begins and ends."""
    end = text.find("\n", place)
    return text.rfind("\n", 0, place) + 1, len(text) if end < 0 else end
