"""Lock files: another editor that has the same file open is noticed.

Each is a small file in the state folder, one for each edited file and process. A lock
counts while the process that wrote it runs, so that one left by a crash means nothing.
Locks only inform: where none can be written, nothing is missing but the warning.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lmtui import paths, processes
from lmtui.editing.recovery import key_of
from lmtui.editing.text_file import TextFile
from lmtui.errors import LmtuiError


@dataclass(frozen=True, slots=True)
class Holder:
    """Another process that has the file open."""

    pid: int
    since: float
    """When it opened the file, in seconds since the epoch."""


class LockFile:
    """The lock of one file for this process. Its methods wait for the disk."""

    def __init__(self, file: TextFile) -> None:
        self._key = key_of(file.path) if file.is_named else ""

    def acquire(self) -> Holder | None:
        if not self._key:
            return None
        # Written before the others are read: of two that open at once, one sees both.
        holder = {
            "pid": os.getpid(),
            "started": processes.started(os.getpid()),
            "since": time.time(),
        }
        with suppress(OSError, LmtuiError):
            paths.ensure_folder(_folder())
            paths.write_atomically(self._own, json.dumps(holder).encode())
        return self.holder()

    def holder(self) -> Holder | None:
        """Return the process that has had the file open for longest, if another one
        has."""
        others = self._others() if self._key else []
        return min(others, key=lambda other: other.since, default=None)

    def release(self) -> None:
        if self._key:
            with suppress(OSError):
                self._own.unlink(missing_ok=True)

    @property
    def _own(self) -> Path:
        return _folder() / f"{self._key}-{os.getpid()}.json"

    def _others(self) -> list[Holder]:
        holders = []
        for lock in _locks(self._key):
            holder = _read(lock)
            if holder is not None:
                holders.append(holder)
            elif lock != self._own:
                with suppress(OSError):
                    lock.unlink(missing_ok=True)
        return holders


def _folder() -> Path:
    return paths.state_folder() / "open"


def _locks(key: str) -> list[Path]:
    try:
        return sorted(_folder().glob(f"{key}-*.json"))
    except OSError:
        return []


def _read(lock: Path) -> Holder | None:
    """Return the process that a lock names; None if it does not run, or is this one."""
    try:
        holder = json.loads(lock.read_bytes())
        pid, since = int(holder["pid"]), float(holder["since"])
        runs = processes.runs_elsewhere(pid, float(holder["started"]))
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    return Holder(pid, since) if runs else None
