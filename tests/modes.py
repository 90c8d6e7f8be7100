"""Who may read what: the modes of files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def entries(folder: Path) -> Iterator[Path]:
    """All that is in a folder, but what links lead to."""
    for where, folders, files in os.walk(folder):
        yield from (Path(where, name) for name in (*folders, *files))


def not_private(folder: Path) -> dict[str, str]:
    """What in a folder is not its owner's alone, by its path, and its mode."""
    found = {}
    for entry in entries(folder):
        mode = entry.lstat().st_mode
        wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != wanted:
            found[str(entry.relative_to(folder))] = stat.filemode(mode)
    return found


def loosen(folder: Path) -> None:
    """Let everybody read all that is in a folder."""
    for entry in entries(folder):
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() else 0o644)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Create files under another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
