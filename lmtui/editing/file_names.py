"""File names as they are typed: which file is meant, and how a name goes on.

Owns what `~` and a relative name mean. Looks at the disk and changes nothing; whether a
file can be written is found out by writing it. Knows no screen.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_MOST = 10_000  # names of a folder that are looked at


def path_named(name: str) -> Path | None:
    """The file that is meant; None where the name says nothing."""
    name = name.strip()
    return Path(name).expanduser().absolute() if name else None


def why_not(name: str) -> str:
    """Why no text can be saved under a name, as far as can be seen; else nothing."""
    try:
        path = path_named(name)
        if path is None:
            return "give a name"
        mode = _mode(path)
        if mode is None:
            return "" if path.parent.is_dir() else "there is no such folder"
    except (OSError, RuntimeError, ValueError):
        return "this can't be a file name"
    if stat.S_ISDIR(mode):
        return "this is a folder"
    return "" if stat.S_ISREG(mode) else "this is no regular file"


def completed(name: str) -> str:
    """A name with as much more as all names have that begin so; a folder that is the
    only one ends with a slash."""
    head, _, begun = name.rpartition("/")
    folder = f"{head}/" if "/" in name else ""
    try:
        found = _names(Path(folder or ".").expanduser(), begun)
    except (OSError, RuntimeError, ValueError):
        return name
    # Letters are what is to be completed, not parts of a path.
    return folder + os.path.commonprefix(found) if found else name  # noqa: RUF071


def _mode(path: Path) -> int | None:
    """What kind of thing is there; None where there is nothing."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _names(folder: Path, begun: str) -> list[str]:
    names = []
    with os.scandir(folder) as entries:
        for _, entry in zip(range(_MOST), entries, strict=False):
            hidden = entry.name.startswith(".") and not begun
            if entry.name.startswith(begun) and not hidden:
                names.append(entry.name + ("/" if entry.is_dir() else ""))
    return names
