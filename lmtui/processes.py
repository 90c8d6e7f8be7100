"""Which programs of ours compute on this machine now.

Owns a small file for each, locked for as long as its process lives: the system gives
the lock back however that ends, so that a killed program is never taken for a busy one.
Where nothing can be written, nobody knows of anybody, and nothing else is lost. Knows
no verb and no screen.
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

_CLOCK = 5.0  # s by which a process's start may be told differently at another time


def started(pid: int) -> float | None:
    """When a process started, in seconds since the epoch; None if there is none."""
    import psutil  # only who leaves something behind needs it

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except (psutil.Error, ValueError, OverflowError):
        return None


def runs_elsewhere(pid: int, since: float) -> bool:
    """Whether another process than this one, which had this id when it started then,
    still runs."""
    if pid == os.getpid():
        return False
    found = started(pid)
    return found is not None and abs(found - since) < _CLOCK


def shell_waits() -> bool:
    """Whether a shell with job control has started this process, alone or with others:
    it has a prompt once they stop, and brings them back."""
    import psutil  # only who wants to stop needs it

    group = os.getpgrp()
    try:
        shell = psutil.Process(group).ppid()
        return os.getsid(shell) == os.getsid(0) and os.getpgid(shell) != group
    except (psutil.Error, OSError):
        return False


MODULE: Sequence[str] = (sys.executable, "-P", "-m")
"""What runs a module. Without -P, Python files that happen to lie where it starts could
take the place of modules."""


def begin(
    command: Sequence[str], output: IO[bytes], *, beneath: bool = False
) -> subprocess.Popen[bytes]:
    """Begin a process whose stdin is a pipe, and what it prints goes to `output`.
    Signals of the terminal do not reach it.

    One that is to compute only where nothing else does goes `beneath`: Linux gives
    every session an equal share first, and looks at priorities within each.

    Raises:
        OSError: there is no such program, or no room for one more process.
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
    """Where it looks for modules: first where this program is."""
    ours = str(Path(lmtui.__file__).parents[1])
    return os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))


TRAINING = "finetune"
"""What a training begins its words with."""

_TRIES = 5


@dataclass(frozen=True, slots=True)
class RunningInstance:
    """What a process does."""

    pid: int
    what: str
    """A verb, and what it is at: `chat`, `finetune notes`."""
    since: float
    """Seconds since the epoch."""

    @property
    def trains(self) -> bool:
        """Whether it is a training."""
        return self.what.split(" ")[0] == TRAINING

    @property
    def words(self) -> str:
        """It in a few words."""
        return f"{self.what} (process {self.pid})"


@contextmanager
def using(what: str) -> Iterator[None]:
    """Let other processes know, until the block ends, that this one computes."""
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
    """What other processes do, the first one first; looks at the disk."""
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
    """A locked file that tells of a use, and its handle.

    Raises:
        OSError: there can be none.
        LmtuiError: the same.
    """
    name = f"{use.pid}-{secrets.token_hex(3)}.json"
    told = json.dumps({"pid": use.pid, "what": use.what, "since": use.since})
    for _ in range(_TRIES):
        file = paths.ensure_folder(_folder()) / name
        with suppress(FileNotFoundError):  # another has removed the empty folder
            handle = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if _locked(handle, file):
                os.write(handle, told.encode("ascii"))
                return handle, file
            os.close(handle)
    raise OSError("the file does not stay")


def _locked(handle: int, file: Path) -> bool:
    """Lock a file; False where it was taken for one left behind before that."""
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
    """What another process does, by its file; one left behind is removed."""
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
        return None  # it is just being written
    return None if use.pid == os.getpid() else use


def _remove_if_empty(folder: Path) -> None:
    """Leave nothing behind that was not there before the first use."""
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()
