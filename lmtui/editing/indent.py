"""Indentation: the step of a text, and what Enter inserts.

White space is taken over character for character. A list of prose goes on with its next
item, a block of code begins one step deeper. Knows no widget.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

DEFAULT_STEP = " " * 4
TAB = 4
"""The distance of the tab stops, in cells."""

_LOOKED_AT = 10_000
"""Lines that are read to find the step of a text."""
_WIDEST = 8
_BLANKS = " \t"
_LEADING = re.compile(r"[ \t]*")
_ITEM = re.compile(
    r"(?P<indent>[ \t]*)(?:(?P<sign>[-*+])|(?P<number>[0-9]{1,3})(?P<dot>[.)]))"
    r"(?P<space>[ \t]+)(?P<box>\[[ xX]\][ \t]+)?"
)
_RULE = re.compile(r"[ \t]*([-*])(?:[ \t]*\1){2,}[ \t]*")
"""A line across the page in Markdown, such as `* * *`: no item of a list."""
_PAIRS = {"{": "}", "[": "]", "(": ")"}
_COLON_OPENS = ("python", "yaml")
_LEAVES_BLOCK = re.compile(r"[ \t]*(?:return|pass|break|continue|raise)\b")


@dataclass(frozen=True, slots=True)
class Insertion:
    """A text that a key inserts at the cursor."""

    text: str
    cursor: int
    """Offset of the cursor in `text` afterwards."""
    before: int = 0
    """Number of characters before the cursor that the text replaces."""
    after: int = 0
    """Number of characters behind the cursor that the text replaces."""


def is_prose(language: str | None) -> bool:
    return language in (None, "markdown")


def leading(line: str) -> str:
    match = _LEADING.match(line)
    return match[0] if match else ""


def hanging(line: str, language: str | None) -> str:
    """Return the beginning of a line by whose width its further rows are indented: the
    white space of code, or what is before the text of a list's item."""
    if not is_prose(language):
        return leading(line)
    item = _ITEM.match(line)
    return item[0] if item else ""


def step_of(lines: Iterable[str]) -> str:
    """Return the white space of one step of indentation: a tab, or the number of spaces
    by which most lines are deeper than the line above."""
    tabs = spaces = above = 0
    steps: Counter[int] = Counter()
    for line in islice(lines, _LOOKED_AT):
        white = leading(line)
        if len(white) == len(line):
            continue
        tabs += "\t" in white
        spaces += bool(white) and "\t" not in white
        deeper = len(white) - above
        if 1 < deeper <= _WIDEST and "\t" not in white:
            steps[deeper] += 1
        above = len(white)
    if tabs > spaces:
        return "\t"
    return " " * steps.most_common(1)[0][0] if steps else DEFAULT_STEP


def to_next_stop(cells: int, step: str) -> str:
    return step if step == "\t" else " " * (len(step) - cells % len(step))


def to_previous_stop(white: str, step: str) -> str:
    """Return the beginning of leading white space up to the stop before its end."""
    size = _size(step)
    stop = max(0, _cells(white) - 1) // size * size
    while _cells(white) > stop:
        white = white[:-1]
    return white


def one_step(line: str, step: str) -> int:
    """Return how many characters of a line are its first step of indentation, or the
    part of one that it has."""
    size = _size(step)
    match = re.match(rf" {{0,{size - 1}}}\t| {{0,{size}}}", line)
    return match.end() if match else 0


def new_line(
    before: str,
    after: str,
    *,
    step: str = DEFAULT_STEP,
    language: str | None = None,
    code: str | None = None,
) -> Insertion:
    """Return what Enter inserts between the two parts of a line. `code` is `before`
    without what is in strings and comments."""
    indent = leading(before)
    if len(indent) == len(before):  # what stays above is blank, and loses its blanks
        return _line(indent, before=len(before))
    if is_prose(language):
        return _next_item(before, after) or _line(indent)
    code = (before if code is None else code).rstrip(_BLANKS)
    blanks = len(leading(after))
    last, following = code[-1:], after[blanks : blanks + 1]
    if last in _PAIRS or (last == ":" and language in _COLON_OPENS):
        deeper = indent + step
        if following and following == _PAIRS.get(last):
            return Insertion(f"\n{deeper}\n{indent}", len(deeper) + 1, after=blanks)
        return _line(deeper, after=blanks)
    if language == "python" and not following and _leaves_block(code):
        indent = to_previous_stop(indent, step)
    return _line(indent, after=blanks)


def _line(indent: str, *, before: int = 0, after: int = 0) -> Insertion:
    return Insertion(f"\n{indent}", len(indent) + 1, before, after)


def _next_item(before: str, after: str) -> Insertion | None:
    """Return the next item of a list, or the end of the list after an empty item; None
    where there is no list."""
    item = _ITEM.match(before)
    if item is None or _RULE.fullmatch(before + after):
        return None
    if not before[item.end() :].strip() and not after.strip():
        return Insertion("", 0, len(before), len(after))
    mark = item["sign"] or f"{int(item['number']) + 1}{item['dot']}"
    box = f"[ ]{item['box'][3:]}" if item["box"] else ""
    blanks = len(leading(after)) if before[item.end() :] else 0
    return _line(f"{item['indent']}{mark}{item['space']}{box}", after=blanks)


def _leaves_block(code: str) -> bool:
    """Return whether a line of Python ends its block."""
    still_open = sum(map(code.count, _PAIRS)) > sum(map(code.count, _PAIRS.values()))
    return bool(_LEAVES_BLOCK.match(code)) and not still_open


def _size(step: str) -> int:
    return TAB if step == "\t" else len(step)


def _cells(white: str) -> int:
    return len(white.expandtabs(TAB))
