"""State that outlasts a run: recent files, and the hints that were shown.

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
    _write(known[:_MOST])


def _recent_file() -> Path:
    return paths.state_folder() / "recent.json"


def _names() -> list[str]:
    paths.make_private(_recent_file())
    try:
        names = json.loads(_recent_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str)][:_MOST]


def _is_there(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return False


def _write(names: Sequence[str]) -> None:
    try:
        paths.ensure_folder(paths.state_folder())
        paths.write_atomically(_recent_file(), json.dumps(names).encode())
    except (OSError, LmtuiError):
        return  # optional state: no error


def first_time(name: str) -> bool:
    """Return whether a hint was never shown before, and note that it is shown now;
    waits for the disk."""
    known = _hints_shown()
    return name not in known and _write_hints([*known, name])


def _hints_file() -> Path:
    return paths.state_folder() / "seen.json"


def _hints_shown() -> list[str]:
    paths.make_private(_hints_file())
    try:
        names = json.loads(_hints_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str)]


def _write_hints(names: list[str]) -> bool:
    try:
        paths.ensure_folder(paths.state_folder())
        paths.write_atomically(_hints_file(), json.dumps(names).encode())
    except (OSError, LmtuiError):
        return False
    return True
