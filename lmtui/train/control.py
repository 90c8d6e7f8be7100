"""Commands to the worker, one word a line or a signal, and the writer of its events.

A thread reads commands and the training thread asks for them; the reader touches no
tensor. A closed command pipe counts as a stop, since the sender is gone. Knows no
training.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

from lmtui.models.progress import Progress
from lmtui.train.events import Doing, End, Ending, Event, Start, Warned, to_json

_PART = 4096  # bytes that are read at once

_SAID_EVERY = 0.2  # seconds between two progress events of the same work
_LAST_WORD = 1.0  # seconds to wait for the lock before the process exits without `End`


class WorkerControl:
    """The commands received so far. Only the `wait_` methods block.

    A stop makes the process leave at once; after `save_first`, only the second stop
    does.
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._changed = threading.Condition(threading.RLock())
        self._begin = False
        self._pause = False
        self._stops = 0
        self._saves = False

    def listen(self, words: int) -> None:
        """Read commands from a file descriptor from now on, and take signals as
        stops."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.say("stop"))
        threading.Thread(target=self._read, args=(words,), daemon=True).start()

    def _read(self, words: int) -> None:
        # No file object: the thread would hold its lock while the process exits.
        line = b""
        while part := _more(words):
            *lines, line = (line + part).split(b"\n")
            for word in lines:
                self.say(word.decode("utf-8", "replace").strip())
        if not self.stopping():
            self.say("stop")

    def save_first(self) -> None:
        """Let the first stop from now on wait until the training is saved."""
        with self._changed:
            self._saves = True

    def say(self, word: str) -> None:
        """Take one command; unknown words are ignored."""
        with self._changed:
            match word:
                case "go":
                    self._begin = True
                case "pause":
                    self._pause = True
                case "resume":
                    self._pause = False
                case "stop":
                    self._stops += 1
            self._changed.notify_all()
            if self._stops >= (2 if self._saves else 1):
                self._leave()

    def stopping(self) -> bool:
        """Whether the training must end."""
        return self._stops > 0

    @property
    def pausing(self) -> bool:
        """Whether the training must wait before the next step."""
        return self._pause and not self.stopping()

    def wait_for_go(self) -> bool:
        """Wait for `go` and return True; return False on a stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._begin or self.stopping())
            return not self.stopping()

    def wait_for_resume(self) -> None:
        """Wait until no pause is in force."""
        with self._changed:
            self._changed.wait_for(lambda: not self.pausing)


def _more(words: int) -> bytes:
    """Read what was written since the last call; empty at the end or on an error."""
    try:
        return os.read(words, _PART)
    except OSError:
        return b""


class EventWriter:
    """A thread-safe writer of events, one JSON object a line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._said: tuple[str, float] = ("", 0.0)
        self.step = 0
        """The step of the last event that has one."""
        self._started = self._ended = False

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._write(event)

    def report(self, progress: Progress) -> None:
        """Write progress as `Doing`, limited in rate, or a warning as `Warned`."""
        if progress.warning:
            self(Warned(progress.what))
            return
        now = time.monotonic()
        what, when = self._said
        if what == progress.what and now - when < _SAID_EVERY:
            return
        self._said = progress.what, now
        share = None
        if progress.done is not None and progress.total:
            share = progress.done / progress.total
        self(Doing(progress.what, share))

    def leave(self) -> None:
        """Write a final `End` and exit the process at once, whatever it is doing."""
        if self._lock.acquire(timeout=_LAST_WORD) and not self._ended:
            finish: Ending = "stopped" if self._started else "declined"
            self._write(End(finish, self.step))
        os._exit(0)

    def _write(self, event: Event) -> None:
        self._file.write(to_json(event).encode() + b"\n")
        self._file.flush()
        self.step = getattr(event, "step", self.step)
        self._started = self._started or isinstance(event, Start)
        self._ended = isinstance(event, End)
