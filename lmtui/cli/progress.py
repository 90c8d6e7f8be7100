"""Progress on stderr: a status line, a meter, and a bar for loading.

On a terminal the drawing is erased at the end. Elsewhere loading writes one plain line
for each kind of long work. Warnings stay in both.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from lmtui.cli.errors import note
from lmtui.models.progress import OnProgress, Progress
from lmtui.text import visible_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_PAUSE = 0.1  # seconds between two drawings
_PATIENCE = 1.0  # seconds of work before a meter is drawn
_WIDTH = 24  # cells of a meter
_CLEAR = "\r\x1b[2K"


class StatusLine:
    """Last line of the terminal, redrawn with the current state."""

    def __init__(
        self,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        patience: float = 0.0,
    ) -> None:
        """Nothing is drawn in the first `patience` seconds."""
        self._stream = stream or sys.stderr
        self._clock = clock
        self._next = clock() + patience if patience else float("-inf")
        self._drawn = False
        self.is_terminal = self._stream is not None and self._stream.isatty()
        self._on = self.is_terminal

    def draw(self, words: str) -> None:
        """Draw the line, at most once per `_PAUSE`."""
        now = self._clock()
        if self._on and now >= self._next:
            self._next = now + _PAUSE
            self._drawn = True
            self._write(_CLEAR + _cut(words, self._width() - 1))

    def lines(self, text: str) -> None:
        """Write whole lines above the status line."""
        self.clear()
        note(text)

    def clear(self) -> None:
        """Erase the line."""
        self._next = float("-inf")
        if self._drawn:
            self._drawn = False
            self._write(_CLEAR)

    def stop(self) -> None:
        """Erase the line and draw no more."""
        self.clear()
        self._on = False

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


class Meter:
    """Progress bar of one piece of work; call it with (done, whole)."""

    def __init__(
        self,
        title: str,
        *,
        unit: str = "tokens",
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._unit = title, unit
        self._line = StatusLine(stream=stream, clock=clock, patience=_PATIENCE)

    def __call__(self, done: int, whole: int) -> None:
        """Draw the progress, at most once per `_PAUSE`."""
        self._line.draw(f"{self._title} {_meter_bar(done, whole)} {self._unit}")

    def clear(self) -> None:
        """Erase the line."""
        self._line.clear()

    def pause(self, results: TextIO | None = None) -> None:
        """Stop drawing because results begin to appear, if they go to a terminal."""
        if (results or sys.stdout).isatty():
            self._line.stop()


def _meter_bar(done: int, whole: int) -> str:
    part = min(done / whole, 1.0) if whole else 1.0
    full = round(part * _WIDTH)
    bar = "█" * full + "░" * (_WIDTH - full)
    return f"{bar} {part:4.0%}  {done:,}/{whole:,}"


@contextmanager
def meter(title: str, *, unit: str = "tokens") -> Iterator[Meter]:
    """Yield a meter, erased at the end."""
    drawing = Meter(title, unit=unit)
    try:
        yield drawing
    finally:
        drawing.clear()


@contextmanager
def loading_progress() -> Iterator[OnProgress]:
    """Yield a listener that draws the progress of downloads and loading on stderr."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines().show
        return
    with _bar() as bar:
        yield _Drawn(bar).show


class _Lines:
    """Listener for a stderr that is no terminal: one line for each kind of work."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, progress: Progress) -> None:
        quick = progress.total is None and not progress.warning
        if quick or progress.what == self._last or sys.stderr is None:
            return
        self._last = progress.what
        prefix = "warning: " if progress.warning else ""
        print(f"{prefix}{visible_line(progress.what)}", file=sys.stderr, flush=True)


class _Drawn:
    """Listener that shows the work reported last as a bar."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, visible=False, amount="")

    def show(self, progress: Progress) -> None:
        from rich.text import Text

        words = visible_line(progress.what)
        if progress.warning:
            self._bar.console.print(Text(f"warning: {words}"))
            return
        self._bar.update(
            self._task,
            description=words,
            completed=progress.done or 0,
            total=progress.total,
            visible=True,
            amount=_amount(progress),
        )


def _amount(progress: Progress) -> str:
    if progress.done is None or not progress.total:
        return ""
    if progress.unit != "bytes":
        return f"{progress.done}/{progress.total} {progress.unit}"
    return f"{progress.done / 1e6:.1f}/{progress.total / 1e6:.1f} MB"


def _bar() -> Bar:
    # Imported here: not needed where stderr is no terminal.
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    # The description is cut first, so that bar and numbers are always complete.
    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Bar(
        TextColumn("{task.description}", markup=False, table_column=words),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]}", markup=False),
        console=Console(stderr=True, highlight=False),
        expand=True,
        transient=True,
    )
