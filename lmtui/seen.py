"""What the user was told once and need not be told again.

Owns one small file and that it is never in the way: where it can't be written, nobody
is told, for else it would be said at every start. Knows no terminal and no screen.
"""

from __future__ import annotations

import json
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError


def first_time(name: str) -> bool:
    """Whether something was never told before; from now on it was. Waits for a disk."""
    known = _names()
    return name not in known and _write([*known, name])


def _file() -> Path:
    return paths.state_folder() / "seen.json"


def _names() -> list[str]:
    paths.make_private(_file())
    try:
        names = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(names, list):
        return []
    return [name for name in names if isinstance(name, str)]


def _write(names: list[str]) -> bool:
    try:
        paths.ensure_folder(paths.state_folder())
        paths.write_atomically(_file(), json.dumps(names).encode())
    except (OSError, LmtuiError):
        return False
    return True
