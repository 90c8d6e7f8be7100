"""What the worker says: events, a line each.

Owns that lines are whole whichever thread writes them, that reports of work under way
come not too often, and the last word of a process that leaves at once.
"""

from __future__ import annotations

import os
import threading
import time
from typing import BinaryIO

from lmtui.models.progress import Progress
from lmtui.train.events import Doing, End, Ending, Event, Start, Warned, to_json

_SAID_EVERY = 0.2  # seconds between two reports of one and the same work
_LAST_WORD = 1.0  # seconds that a process that leaves waits for another's line


class Teller:
    """Writes events to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._said: tuple[str, float] = ("", 0.0)
        self.step = 0
        """The step that was told last."""
        self._started = self._ended = False

    def __call__(self, event: Event) -> None:
        """Say something."""
        with self._lock:
            self._write(event)

    def report(self, progress: Progress) -> None:
        """Pass on how far some work is."""
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
        """Say that it stopped, and end the process, whatever it is doing."""
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
