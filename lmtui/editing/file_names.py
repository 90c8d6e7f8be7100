"""File names as the user types them: their meaning, validity and completion.

Looks at the disk and changes nothing; whether a file is writable shows when it is
written. Knows no screen.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

_MOST = 10_000  # names of a folder that are examined


def path_named(name: str) -> Path | None:
    """Return the absolute path of a name, `~` expanded; None for an empty name."""
    name = name.strip()
    return Path(name).expanduser().absolute() if name else None


def why_not(name: str) -> str:
    """Return why no text can be saved under a name, as far as is known; empty if it
    can."""
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


def why_no_notes(name: str) -> str:
    """Return why there is no file and no folder of a name; empty if there is one."""
    try:
        path = path_named(name)
        if path is None:
            return "name a file or a folder"
        return "" if path.exists() else "there is no such file or folder"
    except (OSError, RuntimeError, ValueError):
        return "this can't be a file name"


def completed(name: str) -> str:
    """Return a name extended by what all names that begin so have in common.

    A folder that is the only match ends with a slash.
    """
    head, _, begun = name.rpartition("/")
    folder = f"{head}/" if "/" in name else ""
    try:
        names = _names(Path(folder or ".").expanduser(), begun)
    except (OSError, RuntimeError, ValueError):
        return name
    # Not os.path.commonpath: letters are completed, not path components.
    return folder + os.path.commonprefix(names) if names else name  # noqa: RUF071


def _mode(path: Path) -> int | None:
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
