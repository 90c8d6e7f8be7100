"""A line on stderr that is drawn over and over, and whole lines above it.

Draws nothing where stderr is no terminal: whole lines are all that a log wants. Knows
nothing of what it says; that is visible already.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from lmtui.cli.edge import note

_PAUSE = 0.1  # seconds between two drawings
_CLEAR = "\r\x1b[2K"


class StatusLine:
    """The last line of the terminal."""

    def __init__(
        self,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._next = float("-inf")
        self._drawn = False
        self.is_terminal = self._stream is not None and self._stream.isatty()
        self._on = self.is_terminal

    def draw(self, words: str) -> None:
        """Draw it, if it is time."""
        now = self._clock()
        if self._on and now >= self._next:
            self._next = now + _PAUSE
            self._drawn = True
            self._write(_CLEAR + _cut(words, self._width() - 1))

    def lines(self, text: str) -> None:
        """Write whole lines above it."""
        self.clear()
        note(text)

    def clear(self) -> None:
        """Take it away."""
        self._next = float("-inf")
        if self._drawn:
            self._drawn = False
            self._write(_CLEAR)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._on = False


def _cut(words: str, width: int) -> str:
    from rich.cells import cell_len, set_cell_size

    return words if cell_len(words) <= width else set_cell_size(words, width)
