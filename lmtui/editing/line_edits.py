"""Edits of whole lines, as values: what replaces which lines, and the selection then.

A selection that ends before the first character of a line leaves that line out. The
empty end of a text behind its last newline is no line. Locations are (line, column)
from 0, in code points. Knows no widget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmtui.editing.indent import one_step

Location = tuple[int, int]
Selected = tuple[Location, Location]
"""Where a selection was begun, and where the cursor is."""
Splice = tuple[int, int, str]
"""A column, the number of characters removed there, and the text put there instead."""


@dataclass(frozen=True, slots=True)
class LineEdit:
    """The lines from `first` to `last` are replaced."""

    first: int
    last: int
    lines: tuple[str, ...]
    selection: Selected
    """The selection afterwards."""


def lines_of(selection: Selected) -> tuple[int, int]:
    low, high = sorted(selection)
    return low[0], max(low[0], high[0] - (high[1] == 0))


def indented(lines: Sequence[str], selection: Selected, step: str) -> LineEdit | None:
    """Indent the selected lines by a step; None where all are empty."""
    return spliced(lines, selection, lambda line: [(0, 0, step)] if line else [])


def dedented(lines: Sequence[str], selection: Selected, step: str) -> LineEdit | None:
    """Take a step of indentation from the selected lines; None where there is none."""

    def splices(line: str) -> list[Splice]:
        count = one_step(line, step)
        return [(0, count, "")] if count else []

    return spliced(lines, selection, splices)


def moved(lines: Sequence[str], selection: Selected, by: int) -> LineEdit | None:
    """Exchange the selected lines with the line above (`by` -1) or below (1); None at
    the edge of the text."""
    first, last = lines_of(selection)
    other = first - 1 if by < 0 else last + 1
    if other < 0 or max(last, other) >= _count(lines):
        return None
    block = lines[first : last + 1]
    replaced = (*block, lines[other]) if by < 0 else (lines[other], *block)
    if max(last, other) == len(lines) - 1 and not replaced[-1]:
        return None  # at the very end, an empty line is none
    begun, cursor = (_below(end, by, lines) for end in selection)
    return LineEdit(min(first, other), max(last, other), replaced, (begun, cursor))


def duplicated(lines: Sequence[str], selection: Selected) -> LineEdit:
    """Write the selected text once more behind itself, or the line of the cursor below
    itself. The selection moves to the copy."""
    (top, left), (bottom, right) = low, high = min(selection), max(selection)
    if low == high:
        return LineEdit(top, top, (lines[top],) * 2, ((top + 1, left),) * 2)
    text = "\n".join(lines[top : bottom + 1])
    copy = text[left : len(text) - len(lines[bottom]) + right]
    line = lines[bottom]
    copies = (line[:right] + copy + line[right:]).split("\n")
    end = (2 * bottom - top, right + (right - left if top == bottom else 0))
    forward = selection[0] == low
    copied = (high, end) if forward else (end, high)
    return LineEdit(bottom, bottom, tuple(copies), copied)


def joined(lines: Sequence[str], selection: Selected) -> LineEdit | None:
    """Join the selected lines, or the line of the cursor and the next one, with a space
    between words. The cursor moves to the last joint. None at the end of the text."""
    first, last = lines_of(selection)
    last = max(last, first + 1)
    if last >= _count(lines):
        return None
    line, joint = lines[first], len(lines[first])
    for below in lines[first + 1 : last + 1]:
        line, joint = _joint(line, below)
    return LineEdit(first, last, (line,), ((first, joint),) * 2)


def spliced(
    lines: Sequence[str],
    selection: Selected,
    splices_of: Callable[[str], Sequence[Splice]],
) -> LineEdit | None:
    """Change each selected line by splices in the order of their columns. The selection
    stays on its characters. None where nothing changes."""
    first, last = lines_of(selection)
    splices = [splices_of(line) for line in lines[first : last + 1]]
    if not any(splices):
        return None
    low, high = min(selection), max(selection)

    def shifted(location: Location) -> Location:
        line, column = location
        if not first <= line <= last:
            return location
        begins = location == low != high
        return line, _moved(column, splices[line - first], stays=begins)

    changed = map(_spliced, lines[first : last + 1], splices)
    begun, cursor = selection
    return LineEdit(first, last, tuple(changed), (shifted(begun), shifted(cursor)))


def _count(lines: Sequence[str]) -> int:
    """Return the number of lines without the empty end behind a last newline."""
    return len(lines) - (len(lines) > 1 and not lines[-1])


def _below(location: Location, by: int, lines: Sequence[str]) -> Location:
    """Return a location some lines below; the end of the text beyond it."""
    line, column = location
    if line + by < len(lines):
        return line + by, column
    return len(lines) - 1, len(lines[line - 1])


def _joint(above: str, below: str) -> tuple[str, int]:
    if not above.strip():
        return below, 0
    if not below.strip():
        return above, len(above)
    above, below = above.rstrip(" \t"), below.lstrip(" \t")
    return f"{above} {below}", len(above)


def _spliced(line: str, splices: Sequence[Splice]) -> str:
    for column, count, text in reversed(splices):
        line = line[:column] + text + line[column + count :]
    return line


def _moved(column: int, splices: Sequence[Splice], *, stays: bool) -> int:
    """Return a column after splices. With `stays`, one at which text is inserted is
    before that text."""
    shift = 0
    for at, count, text in splices:
        if column < at or (stays and column == at):
            break
        shift += len(text) - min(count, column - at)
    return column + shift
