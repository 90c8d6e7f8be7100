"""Registry of the program's running processes, and the start of child processes.

Each process has a small file, locked as long as it lives: the system releases the lock
however the process ends. Where no file can be written, others don't see the process,
and nothing else fails. Knows no command and no screen.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import lmtui
from lmtui import paths
from lmtui.errors import LmtuiError

_CLOCK = 5.0  # seconds by which psutil's start time of a process may vary


def started(pid: int) -> float | None:
    """Return when a process started, in seconds since the epoch; None if it does not
    run."""
    import psutil  # imported here: few runs need it

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return None


def runs_elsewhere(pid: int, since: float) -> bool:
    """Return whether the process with this id and start time still runs, and is not
    this one."""
    if pid == os.getpid():
        return False
    found = started(pid)
    return found is not None and abs(found - since) < _CLOCK


def shell_waits() -> bool:
    """Return whether a shell with job control started this process, or its group: the
    shell then shows a prompt when they are suspended, and can resume them."""
    import psutil  # imported here: only suspending needs it

    group = os.getpgrp()
    try:
        shell = psutil.Process(group).ppid()
        return os.getsid(shell) == os.getsid(0) and os.getpgid(shell) != group
    except (psutil.Error, OSError):
        return False


MODULE: Sequence[str] = (sys.executable, "-P", "-m")
"""The command that runs a module. `-P` keeps Python files in the current folder from
being imported in place of modules."""


def begin(
    command: Sequence[str], output: IO[bytes], *, beneath: bool = False
) -> subprocess.Popen[bytes]:
    """Start a process with a pipe as stdin, whose stdout and stderr go to `output`. It
    gets no signals of the terminal.

    With `beneath`, it stays in this session, so that its low priority takes effect:
    Linux shares the processor among sessions first, and compares priorities within
    each.

    Raises:
        OSError: the program does not exist, or no more processes can be started.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env={**os.environ, "PYTHONPATH": _path()},
        start_new_session=not beneath,
        process_group=0 if beneath else None,
    )


def _path() -> str:
    """Return PYTHONPATH for the process, with this program's folder first."""
    ours = str(Path(lmtui.__file__).parents[1])
    return os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))


TRAINING = "finetune"
"""The first word of `what` of a training process."""

_TRIES = 5


@dataclass(frozen=True, slots=True)
class RunningInstance:
    """A running process of the program and its work."""

    pid: int
    what: str
    """The command, and its object: `chat`, `finetune notes`."""
    since: float
    """Seconds since the epoch."""

    @property
    def trains(self) -> bool:
        """Whether it is a training run."""
        return self.what.split(" ")[0] == TRAINING

    @property
    def words(self) -> str:
        """The process in a few words."""
        return f"{self.what} (process {self.pid})"


@contextmanager
def using(what: str) -> Iterator[None]:
    """Register this process with `what` until the block ends."""
    handle = file = None
    with suppress(OSError, LmtuiError):
        handle, file = _registered(RunningInstance(os.getpid(), what, time.time()))
    try:
        yield
    finally:
        if handle is not None and file is not None:
            with suppress(OSError):
                file.unlink()
            os.close(handle)
            _remove_if_empty(file.parent)


def others() -> tuple[RunningInstance, ...]:
    """Return the other registered processes, the oldest first; reads the disk."""
    found = [use for file in _files() if (use := _living(file))]
    return tuple(sorted(found, key=lambda use: use.since))


def _folder() -> Path:
    return paths.state_folder() / "running"


def _files() -> list[Path]:
    try:
        return list(_folder().glob("*.json"))
    except OSError:
        return []


def _registered(use: RunningInstance) -> tuple[int, Path]:
    """Write and lock the file of this process; return its handle and path.

    Raises:
        OSError, LmtuiError: it can't be written.
    """
    name = f"{use.pid}-{secrets.token_hex(3)}.json"
    told = json.dumps({"pid": use.pid, "what": use.what, "since": use.since})
    for _ in range(_TRIES):
        file = paths.ensure_folder(_folder()) / name
        # another process has removed the empty folder
        with suppress(FileNotFoundError):
            handle = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if _locked(handle, file):
                os.write(handle, told.encode("ascii"))
                return handle, file
            os.close(handle)
    raise OSError("the file does not stay")


def _locked(handle: int, file: Path) -> bool:
    """Lock a file; False where another process removed it as stale before that."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False
    except OSError:  # a file system without locks
        file.unlink(missing_ok=True)
        os.close(handle)
        raise


def _living(file: Path) -> RunningInstance | None:
    """Return the process of a file, if it runs; remove the file of one that has
    ended."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        file.unlink()
    except BlockingIOError:
        return _read(handle)
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def _read(handle: int) -> RunningInstance | None:
    try:
        told = json.loads(os.read(handle, 65536))
        use = RunningInstance(int(told["pid"]), str(told["what"]), float(told["since"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None  # it is being written
    return None if use.pid == os.getpid() else use


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder and its parent where they are empty."""
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()
