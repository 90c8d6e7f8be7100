"""Recovery copies: unsaved text that is still there when the program was killed.

Owns the copies in the state folder, one for each edited file and program that edits
it: a line of JSON, then the text. Whether a copy is offered depends on whether the
program that wrote it still runs. Broken copies are as good as none. Owns too how
often one is written; has no timer. Knows no screen.
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

SECONDS = 1.0
"""How long edits wait at most before they are in the copy, where the keeper is told
of them often enough."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """The unsaved text of a file, from a recovery copy."""

    text: str
    base: str | None
    """The digest of the file that the text was made from, which may be another by
    now; None of a new file."""
    time: float
    """When the copy was written, in seconds since the epoch."""
    pid: int
    """The program that wrote it."""
    open_elsewhere: bool
    """Whether that program still runs: the file is open in another editor, and its
    text must not be offered."""
    copy: Path
    """The copy itself."""


def write(path: Path, base: str | None, text: str) -> None:
    """Keep `text`, not saved, for the file at `path`; waits for the disk.

    Raises:
        LmtuiError: it can't be kept.
    """
    data = text.encode("utf-8", "surrogatepass")
    header = {
        "path": str(path.absolute()),
        "base": base,
        "time": time.time(),
        "pid": os.getpid(),
        "started": processes.started(os.getpid()),
        "digest": hashlib.sha256(data).hexdigest(),
    }
    folder = paths.ensure_folder(_folder())
    line = json.dumps(header).encode() + b"\n"
    try:
        paths.write_atomically(_own(path), line + data)
    except OSError as error:
        raise paths.unwritable(folder, error) from error


def find(path: Path) -> Recovered | None:
    """The newest text that was not saved to the file at `path`; waits for the disk.

    A text that may be offered goes before one of an editor that still runs. One that
    says what the file says is removed.
    """
    found = [copy for copy in _copies(path) if not _is_saved(copy, path)]
    found.sort(key=lambda copy: (not copy.open_elsewhere, copy.time))
    return found[-1] if found else None


def discard(recovered: Recovered) -> None:
    """Remove a copy that was taken over or refused, as long as it is still that one;
    never another editor's."""
    if not recovered.open_elsewhere and _read(recovered.copy) == recovered:
        _remove(recovered.copy)


def drop(path: Path) -> None:
    """Remove this program's own copy for the file at `path`: all of it is saved."""
    _remove(_own(path))


class RecoveryCopy:
    """Keeps the unsaved text of one file, at most once a second.

    It can be told from any thread; it waits for the disk.
    """

    def __init__(self, file: TextFile) -> None:
        self._file = file
        self._kept: str | None = None  # the text in the copy, None without one
        self._last = float("-inf")
        self._lock = Lock()

    def note(self, text: str, now: float) -> bool:
        """Keep `text`, if it is due; whether all of it is kept or saved now.

        `now` is in seconds, of a clock that never goes back. Where the answer is
        False, it has to be told again, also when nothing more is typed.

        Raises:
            LmtuiError: it can't be kept; tried again a second later.
        """
        with self._lock:
            if text == self._file.text:
                self._forget()
                return True
            if text == self._kept:
                return True
            if now - self._last < SECONDS:
                return False
            self._last = now
            write(self._file.path, self._file.digest, text)
            self._kept = text
            return True

    def rebase(self, file: TextFile) -> None:
        """The text was saved, as this file: the copy has done its work."""
        with self._lock:
            self._forget()
            self._file = file

    def close(self) -> None:
        """Remove the copy: the text is saved, or the user does not want it."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._kept is not None:
            drop(self._file.path)
            self._kept = None


def _folder() -> Path:
    return paths.state_folder() / "recovery"


def _key(path: Path) -> str:
    """The name of a file's copies; the same by whatever link the file is opened."""
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:24]


def _own(path: Path) -> Path:
    return _folder() / f"{_key(path)}-{os.getpid()}.txt"


def _copies(path: Path) -> Iterator[Recovered]:
    """The whole copies for a file; what a killed program left of one is removed."""
    key = f"{_key(path)}-"
    for copy in _files():
        if copy.name.startswith(key) and (recovered := _read(copy)):
            yield recovered
        elif copy.name.startswith(f".{key}"):
            pid = copy.name.removeprefix(f".{key}").partition(".")[0]
            if pid.isdecimal() and processes.started(int(pid)) is None:
                _remove(copy)


def _files() -> list[Path]:
    paths.make_all_private(_folder())  # of an older version
    try:
        return sorted(_folder().iterdir())
    except OSError:
        return []


def _read(copy: Path) -> Recovered | None:
    try:
        line, _, data = copy.read_bytes().partition(b"\n")
        header: dict[str, Any] = json.loads(line)
        if hashlib.sha256(data).hexdigest() != header["digest"]:
            return None
        base = header["base"]
        pid, started = int(header["pid"]), float(header["started"])
        return Recovered(
            text=data.decode("utf-8", "surrogatepass"),
            base=None if base is None else str(base),
            time=float(header["time"]),
            pid=pid,
            open_elsewhere=processes.runs_elsewhere(pid, started),
            copy=copy,
        )
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def _is_saved(recovered: Recovered, path: Path) -> bool:
    """Whether the file says what the copy does, which is then removed."""
    if recovered.open_elsewhere:
        return False
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
        return  # it is offered once more, which loses nothing
