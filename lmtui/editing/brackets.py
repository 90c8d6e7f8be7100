"""Pairs of brackets.

The search reads a bounded part of the text, so that it costs the same in a large one.
Brackets of other kinds are ignored. Locations are (line, column) from 0, in code
points. Knows no widget.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from lmtui.editing.line_edits import Location

REACH = 10_000
"""Characters that are read on the way to the other bracket."""
CLOSERS = ")]}"
_SHORTEST = 20
"""Characters that a line counts for at least: each line costs something."""
_KINDS = {bracket: f"[{re.escape(kind)}]" for kind in ("()", "[]", "{}")
          for bracket in kind}  # fmt: skip
"""Each bracket, and a pattern for the brackets of its kind."""

CodeOf = Callable[[int, int, int], str]
"""Returns a line from one column to another, with strings and comments overwritten."""
_Part = tuple[int, int, str]
"""A line, a column, and the code from there on."""


def pair_at(
    lines: Sequence[str], cursor: Location, code_of: CodeOf
) -> tuple[Location, Location] | None:
    """Return the bracket at the cursor, else the one before it, and its partner; None
    where there is no pair."""
    line, column = cursor
    for index in (column, column - 1):
        bracket = code_of(line, index, index + 1) if index >= 0 else ""
        if bracket in _KINDS:
            walk = _back if bracket in CLOSERS else _ahead
            parts = walk(lines, (line, index), code_of)
            other = _first_level(parts, bracket, depth=0)
            return None if other is None else ((line, index), other)
    return None


def closed_by(
    lines: Sequence[str], cursor: Location, bracket: str, code_of: CodeOf
) -> Location | None:
    line, column = cursor
    parts = _back(lines, (line, column - 1), code_of)
    return _first_level(parts, bracket, depth=1)


def _first_level(
    parts: Iterator[_Part], bracket: str, *, depth: int
) -> Location | None:
    """Return where as many brackets of a kind are closed as opened, `depth` of them
    before the parts."""
    kind = re.compile(_KINDS[bracket])
    for line, start, code in parts:
        matches = list(kind.finditer(code))
        for match in reversed(matches) if bracket in CLOSERS else matches:
            depth += 1 if match[0] == bracket else -1
            if not depth:
                return line, start + match.start()
    return None


def _ahead(lines: Sequence[str], at: Location, code_of: CodeOf) -> Iterator[_Part]:
    (line, start), left = at, REACH
    while line < len(lines) and left > 0:
        code = code_of(line, start, start + left)
        yield line, start, code
        left -= max(_SHORTEST, len(code))
        line, start = line + 1, 0


def _back(lines: Sequence[str], at: Location, code_of: CodeOf) -> Iterator[_Part]:
    (line, last), left = at, REACH
    end = last + 1
    while left > 0:
        start = max(0, end - left)
        code = code_of(line, start, end)
        yield line, start, code
        left -= max(_SHORTEST, len(code))
        line -= 1
        if line < 0:
            break
        end = len(lines[line])
