"""What the worker is told while it works: a word a line, or a signal.

Owns what a word changes, and that a stop leaves at once while there is nothing to save,
later the second one. The end of the words is a stop: whoever gave them is gone. A
thread reads, the one that trains asks; the thread never touches a tensor. Knows no
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


class WorkerControl:
    """What was said so far. Its questions never wait; `wait_` methods do."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._changed = threading.Condition(threading.RLock())
        self._begin = False
        self._pause = False
        self._stops = 0
        self._saves = False

    def listen(self, words: int) -> None:
        """Take words from a file descriptor, and signals, from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.say("stop"))
        threading.Thread(target=self._read, args=(words,), daemon=True).start()

    def _read(self, words: int) -> None:
        # Not through a file object: its lock would be held when the process ends.
        line = b""
        while part := _more(words):
            *lines, line = (line + part).split(b"\n")
            for word in lines:
                self.say(word.decode("utf-8", "replace").strip())
        if not self.stopping():
            self.say("stop")

    def save_first(self) -> None:
        """Let the first stop from now on wait until what was learned is saved."""
        with self._changed:
            self._saves = True

    def say(self, word: str) -> None:
        """Take one word; what is none is left unheard."""
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
        """Whether to come to an end."""
        return self._stops > 0

    @property
    def pausing(self) -> bool:
        """Whether to wait before the next step."""
        return self._pause and not self.stopping()

    def wait_for_go(self) -> bool:
        """Wait until it is told to begin; False where it is told to stop instead."""
        with self._changed:
            self._changed.wait_for(lambda: self._begin or self.stopping())
            return not self.stopping()

    def wait_for_resume(self) -> None:
        """Wait while it is to."""
        with self._changed:
            self._changed.wait_for(lambda: not self.pausing)


def _more(words: int) -> bytes:
    """What was written since; nothing at the end, or where there is no such file."""
    try:
        return os.read(words, _PART)
    except OSError:
        return b""


_SAID_EVERY = 0.2  # seconds between two reports of one and the same work
_LAST_WORD = 1.0  # seconds that a process that leaves waits for another's line


class EventWriter:
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
