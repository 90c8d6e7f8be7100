"""Notes to train on that every machine has: the reference that comes with Python."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics


def write_reference(folder: Path, *, longest: int | None = None) -> Path:
    """What `help()` shows of the language, a topic a file; with `longest`, in code
    points, only those that are no longer."""
    folder.mkdir()
    for name, text in topics.items():
        if longest is None or len(text) <= longest:
            (folder / f"{name}.rst").write_text(text, encoding="utf-8")
    return folder
