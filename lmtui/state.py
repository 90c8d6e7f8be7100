"""State that outlasts a run: recent files, hints that were shown, and hosts of texts.

A broken or unwritable file counts as empty, and is never an error. Knows no screen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError

_MOST = 20


def recent_files() -> tuple[Path, ...]:
    """Return the recent files that still exist, the newest first; waits for the
    disk."""
    return tuple(Path(name) for name in _names() if _is_there(name))


def remember(names: Iterable[str]) -> None:
    """Add files to the recent ones, the last one first."""
    known = _names()
    for name in names:
        whole = str(Path(name).absolute())
        known = [whole, *(other for other in known if other != whole)]
    _write(_recent_file(), known[:_MOST])


def _recent_file() -> Path:
    return paths.state_folder() / "recent.json"


def _names() -> list[str]:
    return _read_names(_recent_file())[:_MOST]


def _is_there(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return False


def _write(file: Path, names: Sequence[str]) -> bool:
    """Write a file of names; return whether that was possible."""
    try:
        paths.ensure_folder(file.parent)
        paths.write_atomically(file, json.dumps(names).encode())
    except (OSError, LmtuiError):
        return False
    return True


def first_time(name: str) -> bool:
    """Return whether a hint was never shown before, and note that it is shown now;
    waits for the disk."""
    return _is_new(name, paths.state_folder() / "seen.json") is True


def first_texts_to(host: str) -> bool:
    """Return whether texts were never sent to this host before, and note that they are
    now; waits for the disk. Where that can't be noted, it is True each time."""
    return _is_new(host, paths.state_folder() / "hosts.json") is not False


def _is_new(name: str, file: Path) -> bool | None:
    """Return whether a name is not in a file of names yet, and add it; None where it is
    new and can't be added."""
    known = _read_names(file)
    if name in known:
        return False
    return True if _write(file, [*known, name]) else None


def _read_names(file: Path) -> list[str]:
    paths.make_private(file)
    try:
        names = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str)]
