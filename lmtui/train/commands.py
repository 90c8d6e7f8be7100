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
from collections.abc import Callable

_PART = 4096  # bytes that are read at once


class Commands:
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
