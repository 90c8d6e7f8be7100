"""What a conversation is called, and how it reads in a list.

Owns how a long text becomes a short line. Knows no store and no screen; whoever draws
the line makes it safe.
"""

from __future__ import annotations

import re

TITLE = 60
"""Most code points of a title that is made from a message."""
_PREVIEW = 120
_COPY = " (copy)"
_READ = 2000  # code points looked at of a long message
_ATTACHED = re.compile(r"\s*`{3,}\w+ +([^`\n]+)\n")
_LEADING = re.compile(r"^(?:[#>*\-\s]|```\w*)+")


def title_of(text: str) -> str:
    """A title from the first message of the user: its first words, cut at a word; the
    name of the file where it begins with one."""
    if attached := _ATTACHED.match(text):
        return _cut(f"@{attached[1]}")
    line = _one_line(_LEADING.sub("", text[:_READ]) or text[:_READ])
    return _cut(line)


def _cut(line: str) -> str:
    if len(line) <= TITLE:
        return line
    cut = line[: TITLE - 1]
    at = cut.rfind(" ")
    return (cut[:at] if at > TITLE // 2 else cut).rstrip(" ,;:.") + "…"


def copy_title(title: str) -> str:
    """The title of a copy."""
    return title if title.endswith(_COPY) else f"{title}{_COPY}"


def preview_of(text: str) -> str:
    """The beginning of a message as a line."""
    line = _one_line(text[:_READ])
    return line if len(line) <= _PREVIEW else line[: _PREVIEW - 1] + "…"


def _one_line(text: str) -> str:
    return " ".join(text.split())
