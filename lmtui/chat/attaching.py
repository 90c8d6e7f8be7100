"""Files that go along with a message: `@notes.md` in it names one.

Owns what counts as a name, and how a file is quoted so that it can be told from the
message. A name of nothing is only a word. Waits for the disk. Knows no screen.
"""

from __future__ import annotations

import re
from pathlib import Path

from lmtui.errors import LmtuiError
from lmtui.reading import read_file

LARGEST = 1_000_000
"""Bytes of a file; more would fit no context."""

_NAMED = re.compile(r"(?<!\S)@(\S+)")
_FENCES = re.compile(r"`{3,}")
_AFTER = ",.;:!?)"


def names_files(text: str) -> bool:
    """Whether a message may name a file; that there is one is seen on the disk."""
    return bool(_NAMED.search(text))


def attached(text: str) -> str:
    """A message with the files that it names quoted below it, each once.

    Raises:
        LmtuiError: a file that is there can't be read, or is too long.
    """
    found = dict.fromkeys(filter(None, map(_file, _NAMED.findall(text))))
    return "\n\n".join([text, *map(_quoted, found)])


def _file(name: str) -> str | None:
    """The file that a word names, without what only ends a sentence."""
    for each in (name, name.rstrip(_AFTER)):
        try:
            if each and Path(each).expanduser().is_file():
                return each
        except (OSError, ValueError, RuntimeError):
            continue
    return None


def _quoted(name: str) -> str:
    path = Path(name).expanduser()
    if path.stat().st_size > LARGEST:
        raise LmtuiError(
            "this file is too long for a message", name, "Attach a part of it."
        )
    text = read_file(str(path)).text
    longest = max(map(len, _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    end = "" if text.endswith("\n") else "\n"
    return f"{name}:\n{fence}\n{text}{end}{fence}"
