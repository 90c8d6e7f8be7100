"""The training process: its lock, the events that it writes, the commands that it gets.

A thread reads commands, one word a line, and the training thread asks for them; the
reader touches no tensor. A closed command pipe counts as a stop, since the sender is
gone. Knows no training and imports no torch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lmtui import cache_dir
from lmtui.errors import LmtuiError, panics_as_errors
from lmtui.models.progress import Progress
from lmtui.train.events import Doing, End, Event, Failed, Warned, to_json
from lmtui.train.run_folder import RunFolder

_BYTES_READ = 4096  # at once
_PROGRESS_EVERY = 0.2  # seconds between two progress events of the same work
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


class Channel:
    """Events to the process that started this one, and its commands so far.

    A stop makes this process leave at once; after `save_first`, only the second stop
    does. Only the `wait_` methods block.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()  # of the file
        self._progress: tuple[str, float] = ("", 0.0)
        self._changed = threading.Condition(threading.RLock())
        self._may_start = self._paused = self._saves_first = False
        self._stops = 0

    # Events.

    def emit(self, event: Event) -> None:
        with self._lock:
            self._file.write(to_json(event).encode() + b"\n")
            self._file.flush()

    def report(self, progress: Progress) -> None:
        """Write progress as `Doing`, limited in rate, or a warning as `Warned`."""
        if progress.warning:
            self.emit(Warned(progress.what))
            return
        now = time.monotonic()
        what, when = self._progress
        if what == progress.what and now - when < _PROGRESS_EVERY:
            return
        self._progress = progress.what, now
        share = None
        if progress.done is not None and progress.total:
            share = progress.done / progress.total
        self.emit(Doing(progress.what, share))

    # Commands.

    def listen(self, commands: int) -> None:
        """Read commands from a file descriptor from now on, and take signals as
        stops."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.obey("stop"))
        threading.Thread(target=self._read, args=(commands,), daemon=True).start()

    def _read(self, commands: int) -> None:
        # No file object: the thread would hold its lock while the process exits.
        line = b""
        while part := _more(commands):
            *lines, line = (line + part).split(b"\n")
            for command in lines:
                self.obey(command.decode("utf-8", "replace").strip())
        if not self.stopping():
            self.obey("stop")

    def obey(self, command: str) -> None:
        with self._changed:
            match command:
                case "go":
                    self._may_start = True
                case "pause":
                    self._paused = True
                case "resume":
                    self._paused = False
                case "stop":
                    self._stops += 1
            self._changed.notify_all()
            if self._stops >= (2 if self._saves_first else 1):
                os._exit(0)

    def save_first(self) -> None:
        """Let the first stop from now on wait until the training is saved."""
        with self._changed:
            self._saves_first = True

    def stopping(self) -> bool:
        return self._stops > 0

    @property
    def pausing(self) -> bool:
        return self._paused and not self.stopping()

    def wait_for_go(self) -> None:
        """Wait for `go`; a stop ends the process meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._may_start)

    def wait_for_resume(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self.pausing)


def _more(commands: int) -> bytes:
    """Read what was written since the last call; empty at the end or on an error."""
    try:
        return os.read(commands, _BYTES_READ)
    except OSError:
        return b""


def run_process(
    folder: RunFolder, work: Callable[[Channel], End], *, commands: int = 0
) -> int:
    """Do the work of a run folder, whose every error becomes an event; return the exit
    code. `commands` is the file descriptor that commands come from."""
    try:
        with folder.locked(), folder.new_events() as file:
            channel = Channel(file)
            channel.listen(commands)
            try:
                with panics_as_errors():
                    end = work(channel)
            except Exception as error:  # the top level
                known = explained(error, folder.path)
                channel.emit(Failed(known.title, known.detail, known.hint))
                end = End("failed", folder.last_checkpoint or 0)
            channel.emit(end)
            return int(end.finish == "failed")
    except LmtuiError as error:  # raised before events can be written
        sys.stderr.write(f"{error}\n{error.hint}\n")
        return 1


def explained(error: Exception, folder: Path) -> LmtuiError:
    """Return the error to report for an exception in the training of a run folder.

    A bug's traceback is written to stderr as well.
    """
    if isinstance(error, LmtuiError):
        return error
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(x in str(error) for x in _NO_MEMORY)
    ):
        return LmtuiError(
            "out of memory",
            str(error).partition("\n")[0][:300],
            "Close other programs, use a smaller model, or lower --block, --batch or "
            "--rank.",
        )
    if cache_dir.is_disk_full(error):
        return cache_dir.disk_full(folder)
    traceback.print_exception(error)
    return LmtuiError(
        "unexpected error",
        f"{type(error).__name__}: {error}",
        "Checkpoints are still there; the log of the training says more.",
    )
