"""Courses that tests write into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PAGE = """\
# A page

A **word** and *another*, `code`.

```bars
text: one two
- typed: Write, then {enter}.
```

Done.
"""


def write_course(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write a course of one page; `files` replaces or adds some."""
    folder.mkdir(exist_ok=True)
    whole = {
        "text.txt": "A text. Of the course.",
        "glossary.md": "**word**: [b]a piece.\n",
        "01-a-page.md": PAGE,
        **(files or {}),
    }
    for name, text in whole.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
