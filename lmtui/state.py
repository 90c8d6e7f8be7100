"""The files that were looked at of late.

Owns one small file and that it is never in the way: where it is broken or can't be
written, there simply are no recent files. Knows no terminal and no screen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError

_MOST = 20


def recent_files() -> tuple[Path, ...]:
    """The files that are still there, the newest first; waits for the disk."""
    return tuple(Path(name) for name in _names() if _is_there(name))


def remember(names: Iterable[str]) -> None:
    """Put files before the others, the last one first."""
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
    except (OSError, ValueError):  # too long for a path, or not a path at all
        return False


def _write(names: Sequence[str]) -> None:
    try:
        paths.ensure_folder(paths.state_folder())
        paths.write_atomically(_recent_file(), json.dumps(names).encode())
    except (OSError, LmtuiError):
        return  # nobody asked for it


def first_time(name: str) -> bool:
    """Whether something was never told before; from now on it was. Waits for a disk."""
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
