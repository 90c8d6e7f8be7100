"""Files that the model reads before a text: those that are named, and those of folders.

Knows no model and no screen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lmtui.editing import text_file
from lmtui.engine.document.types import ContextFile
from lmtui.errors import LmtuiError
from lmtui.notation import counted

LONGEST = 200_000
"""Bytes up to which a file of a folder is read."""
MOST = 100
"""Files of a folder that are read."""
MOST_CHARACTERS = 2_000_000
"""Of all files together: far more than any context holds."""


def read_context(names: Sequence[str], own: Path) -> tuple[ContextFile, ...]:
    """Read the files that are named, and the texts in the folders that are, but not the
    text's own file.

    Hidden files and folders, long files and files that are no text are left out of a
    folder.

    Raises:
        LmtuiError: a file can't be read or is no text, a folder has no texts or too
            many, or all of them are too long.
    """
    files = tuple(file for name in names for file in _read(Path(name), own))
    total = sum(len(file.text) for file in files)
    if total > MOST_CHARACTERS:
        detail = f"{total:,} characters, at most {MOST_CHARACTERS:,} are read"
        hint = "Name fewer files, those that matter most."
        raise LmtuiError("the files to read first are too long", detail, hint)
    return files


def _read(path: Path, own: Path) -> Iterator[ContextFile]:
    if not path.is_dir():
        file = text_file.load(str(path))
        if file.is_new:
            raise LmtuiError("there is no such file", str(path), "Check the path.")
        yield ContextFile(path.name, file.text)
        return
    texts = list(_texts_in(path, own))
    if not texts:
        hint = "Name another folder, or files."
        raise LmtuiError("the folder has no texts", str(path), hint)
    yield from texts


def _texts_in(folder: Path, own: Path) -> Iterator[ContextFile]:
    count = 0
    for inside, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(inside, name)
            if name.startswith(".") or path.resolve() == own.resolve():
                continue
            if (text := _text_of(path)) is None:
                continue
            count += 1
            if count > MOST:
                detail = f"{folder} has more than {counted(MOST, 'text')}"
                hint = "Name the files that matter, or a smaller folder."
                raise LmtuiError("the folder is too large", detail, hint)
            shown = Path(folder.resolve().name, path.relative_to(folder))
            yield ContextFile(shown.as_posix(), text)


def _text_of(path: Path) -> str | None:
    """Return the text of a file; None where it is long, no text, or can't be read."""
    try:
        if not path.is_file() or path.stat().st_size > LONGEST:
            return None
        return text_file.load(str(path)).text
    except (OSError, LmtuiError):
        return None
