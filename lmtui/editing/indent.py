"""Indentation: what Enter inserts, and how far the rows of a wrapped line are indented.

White space is taken over character for character, and a list of prose goes on with its
next item. Knows no widget.
"""

from __future__ import annotations

import re

_PROSE = (None, "markdown")
_LEADING = re.compile(r"[ \t]*")
_ITEM = re.compile(
    r"(?P<indent>[ \t]*)(?:(?P<sign>[-*+])|(?P<number>[0-9]{1,3})(?P<dot>[.)]))"
    r"(?P<space>[ \t]+)(?P<box>\[[ xX]\][ \t]+)?"
)
_RULE = re.compile(r"[ \t]*([-*])(?:[ \t]*\1){2,}[ \t]*")
"""A line across the page in Markdown, such as `* * *`: no item of a list."""


def leading(line: str) -> str:
    match = _LEADING.match(line)
    return match[0] if match else ""


def hanging(line: str, language: str | None) -> str:
    """Return the beginning of a line by whose width its further rows are indented: the
    white space of code, or what is before the text of a list's item."""
    if language not in _PROSE:
        return leading(line)
    item = _ITEM.match(line)
    return item[0] if item else ""


def new_line(before: str, after: str, language: str | None = None) -> str:
    """Return what Enter inserts between the two parts of a line: a newline with its
    indentation, or the mark of the next item of a list. "" in an empty item, which ends
    the list."""
    item = _ITEM.match(before) if language in _PROSE else None
    if item is None or _RULE.fullmatch(before + after):
        return f"\n{leading(before)}"
    if not before[item.end() :].strip() and not after.strip():
        return ""
    mark = item["sign"] or f"{int(item['number']) + 1}{item['dot']}"
    box = f"[ ]{item['box'][3:]}" if item["box"] else ""
    return f"\n{item['indent']}{mark}{item['space']}{box}"
