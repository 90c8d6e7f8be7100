"""A line of progress on stderr for work that takes longer than a moment.

Draws nothing in the first second, nothing when stderr is no terminal, and leaves
nothing behind. Once results appear on a terminal, they are the progress: a line that
is redrawn would run into them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_PATIENCE = 1.0  # seconds of work that need no meter
_PAUSE = 0.1  # seconds between two drawings
_WIDTH = 24
_CLEAR = "\r\x1b[2K"


class Meter:
    """Progress of one piece of work; call it with (done, all)."""

    def __init__(
        self,
        title: str,
        *,
        unit: str = "tokens",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._unit = title, unit
        self._stream = stream or sys.stderr
        self._clock = clock
        self._next = clock() + _PATIENCE
        self._drawn = False
        self._on = self._stream is not None and self._stream.isatty()

    def __call__(self, done: int, whole: int) -> None:
        """Draw how far the work is, if it is time."""
        now = self._clock()
        if not self._on or now < self._next:
            return
        self._next = now + _PAUSE
        self._drawn = True
        self._write(f"{_CLEAR}{self._title} {_bar(done, whole)} {self._unit}")

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._drawn = False
            self._write(_CLEAR)

    def give_way(self, results: TextIO | None = None) -> None:
        """Results begin to appear: if on a terminal, draw no more."""
        if (results or sys.stdout).isatty():
            self.clear()
            self._on = False

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._on = False


def _bar(done: int, whole: int) -> str:
    part = min(done / whole, 1.0) if whole else 1.0
    full = round(part * _WIDTH)
    bar = "█" * full + "░" * (_WIDTH - full)
    return f"{bar} {part:4.0%}  {done:,}/{whole:,}"


@contextmanager
def meter(title: str, *, unit: str = "tokens") -> Iterator[Meter]:
    """A meter that is gone at the end, however it comes."""
    drawing = Meter(title, unit=unit)
    try:
        yield drawing
    finally:
        drawing.clear()
