"""Recovery copies: unsaved text that survives when the program is killed.

Each is a file in the state folder, one for each edited file and process: a line of
JSON, then the text. A copy is offered once the process that wrote it has ended, the
newest first; it stays until it is accepted or discarded. Damaged copies are ignored.
Has no timer and knows no screen.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from lmtui import paths, processes
from lmtui.editing.text_file import TextFile, load
from lmtui.errors import LmtuiError

_RUN = os.urandom(4).hex()
"""Names the copies of this run: a later process may have the same id."""
SECONDS = 1.0
"""Seconds after which edits are in the copy, if `RecoveryCopy.note` is called often."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The unsaved text of a file, from a recovery copy."""

    text: str
    base: str | None
    """Digest of the file that the text was made from; None for a new file.

    The file may have changed since.
    """
    time: float
    """When the copy was written, in seconds since the epoch."""
    copy: Path
    cursor: int
    """Offset of the cursor in the text, where it was written last."""


def write(path: Path, base: str | None, text: str, cursor: int = 0) -> None:
    """Write a recovery copy of `text` for the file at `path`; waits for the disk.

    Raises:
        LmtuiError: the copy can't be written.
    """
    data = text.encode("utf-8", "surrogatepass")
    header = {
        "path": str(path.absolute()),
        "base": base,
        "time": time.time(),
        "pid": os.getpid(),
        "started": processes.started(os.getpid()),
        "digest": hashlib.sha256(data).hexdigest(),
        "cursor": cursor,
    }
    folder = paths.ensure_folder(_folder())
    line = json.dumps(header).encode() + b"\n"
    try:
        paths.write_atomically(_own(path), line + data)
    except OSError as error:
        raise paths.unwritable(folder, error) from error


def find(path: Path) -> Recovered | None:
    """Return the newest unsaved text of the file at `path`; waits for the disk. A copy
    with the file's own text is removed."""
    copies = [copy for copy in _copies(path) if not _is_saved(copy, path)]
    return max(copies, key=lambda copy: copy.time, default=None)


def discard(recovered: Recovered) -> None:
    """Remove a copy that was accepted or declined, if it is unchanged."""
    if _read(recovered.copy) == recovered:
        _remove(recovered.copy)


def drop(path: Path) -> None:
    """Remove this process's own copy for the file at `path`."""
    _remove(_own(path))


class RecoveryCopy:
    """The recovery copy of one file, written at most once a second.

    Its methods may be called from any thread; they wait for the disk.
    """

    def __init__(self, file: TextFile) -> None:
        self._file = file
        self._kept: str | None = None  # the text in the copy, None without one
        self._last = float("-inf")
        self._is_closed = False
        self._lock = Lock()

    def note(self, text: str, now: float, cursor: int = 0) -> bool:
        """Write `text` if it is due; return whether all of it is in the copy or saved.

        `now` is in seconds, of a monotonic clock. After False, call it again later,
        even if nothing more is typed.

        Raises:
            LmtuiError: the copy can't be written; it is tried again a second later.
        """
        with self._lock:
            if self._is_closed or text == self._file.saved_text:
                self._forget()
                return True
            if text == self._kept:
                return True
            if now - self._last < SECONDS:
                return False
            self._last = now
            self._write(text, cursor)
            return True

    def write_at_once(self, text: str, cursor: int) -> None:
        """Write `text`, whatever the file has and whenever the last one was written.

        Raises:
            LmtuiError: the copy can't be written.
        """
        with self._lock:
            self._write(text, cursor)

    def _write(self, text: str, cursor: int) -> None:
        write(self._file.path, self._file.digest, text, cursor)
        self._kept = text

    def rebase(self, file: TextFile) -> None:
        """Remove the copy because the text was saved as this file."""
        with self._lock:
            self._forget()
            self._file = file

    def close(self) -> None:
        """Remove the copy because the text is saved; write no other."""
        with self._lock:
            self._is_closed = True
            self._forget()

    def _forget(self) -> None:
        if self._kept is not None:
            drop(self._file.path)
            self._kept = None


def _folder() -> Path:
    return paths.state_folder() / "recovery"


def key_of(path: Path) -> str:
    """Return the name of a file's copies, the same for every link to the file."""
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:24]


def _own(path: Path) -> Path:
    return _folder() / f"{key_of(path)}-{os.getpid()}-{_RUN}.txt"


def _copies(path: Path) -> Iterator[Recovered]:
    """Yield the intact copies for a file that no other editor still writes; remove
    temporary files of killed processes."""
    key = f"{key_of(path)}-"
    try:
        copies = sorted(_folder().iterdir())
    except OSError:
        return
    for copy in copies:
        if copy.name.startswith(key) and (recovered := _read(copy)):
            yield recovered
        elif copy.name.startswith(f".{key}"):
            pid = copy.name.removeprefix(f".{key}").partition("-")[0]
            if pid.isdecimal() and processes.started(int(pid)) is None:
                _remove(copy)


def _read(copy: Path) -> Recovered | None:
    """Return what a copy holds; None if it is damaged, or its process still runs."""
    try:
        line, _, data = copy.read_bytes().partition(b"\n")
        header: dict[str, Any] = json.loads(line)
        if hashlib.sha256(data).hexdigest() != header["digest"]:
            return None
        if processes.runs_elsewhere(int(header["pid"]), float(header["started"])):
            return None
        base = header["base"]
        return Recovered(
            text=data.decode("utf-8", "surrogatepass"),
            base=None if base is None else str(base),
            time=float(header["time"]),
            copy=copy,
            cursor=int(header["cursor"]),
        )
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _is_saved(recovered: Recovered, path: Path) -> bool:
    """Return whether the file has the copy's text; the copy is then removed."""
    try:
        same = load(path).text == recovered.text
    except LmtuiError:
        return False
    if same:
        _remove(recovered.copy)
    return same


def _remove(copy: Path) -> None:
    try:
        copy.unlink(missing_ok=True)
    except OSError:
        return  # the copy is offered again, which loses nothing
