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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lmtui import paths
from lmtui.errors import LmtuiError

TRAINING = "finetune"
"""What a training begins its words with."""

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Use:
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
        handle, file = _registered(Use(os.getpid(), what, time.time()))
    try:
        yield
    finally:
        if handle is not None and file is not None:
            with suppress(OSError):
                file.unlink()
            os.close(handle)
            _remove_if_empty(file.parent)


def others() -> tuple[Use, ...]:
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


def _registered(use: Use) -> tuple[int, Path]:
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


def _living(file: Path) -> Use | None:
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


def _read(handle: int) -> Use | None:
    try:
        told = json.loads(os.read(handle, 65536))
        use = Use(int(told["pid"]), str(told["what"]), float(told["since"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None  # it is just being written
    return None if use.pid == os.getpid() else use


def _remove_if_empty(folder: Path) -> None:
    """Leave nothing behind that was not there before the first use."""
    with suppress(OSError):
        folder.rmdir()
        folder.parent.rmdir()
