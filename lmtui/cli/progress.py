"""Progress on stderr: one line of a terminal, drawn by rich and erased at the end.

Where stderr is no terminal, loading writes one plain line for each kind of long work,
and nothing else is shown. Warnings stay in both.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

from lmtui.cli.errors import note
from lmtui.models.progress import OnProgress, Progress
from lmtui.text import visible_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_PAUSE = 0.1  # seconds between two drawings
_PATIENCE = 1.0  # seconds of work before a meter is drawn


class ProgressLine:
    """The last line of the terminal: what is done now, with a bar where it is
    counted."""

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
        self._bar: Bar | None = None
        self.is_terminal = self._stream is not None and self._stream.isatty()
        self._on = self.is_terminal

    def show(
        self,
        words: str,
        done: int | None = None,
        whole: int | None = None,
        amount: str = "",
        *,
        at_once: bool = False,
    ) -> None:
        """Draw the line, at most once per `_PAUSE` unless `at_once`; a bar only with
        `done` and `whole`."""
        now = self._clock()
        if not self._on or (now < self._next and not at_once):
            return
        self._next = now + _PAUSE
        if self._bar is None:
            self._bar = _bar(self._stream)
            self._bar.add_task("")
        self._bar.update(
            self._bar.task_ids[0],
            description=words,
            completed=done or 0,
            total=whole,
            amount=amount,
            counted=done is not None and whole is not None,
        )
        try:
            self._bar.start()
            self._bar.refresh()
        except OSError:  # the terminal is gone
            # The bar is not stopped: `Live.stop` raises after a failed first `start`.
            self._on, self._bar = False, None

    def lines(self, text: str) -> None:
        """Write whole lines above the progress."""
        self.clear()
        note(text)

    def clear(self) -> None:
        if self._bar is not None:
            bar, self._bar, self._next = self._bar, None, float("-inf")
            with suppress(OSError):  # the terminal may be gone
                bar.stop()

    def stop(self) -> None:
        """Erase the line and draw no more."""
        self.clear()
        self._on = False


def _bar(stream: TextIO) -> Bar:
    # Imported here: not needed where stderr is no terminal.
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column
    from rich.text import Text

    class CountedBar(ProgressColumn):
        """A bar for what is counted, and nothing for what is not."""

        bar = BarColumn(bar_width=24)

        def render(self, task: Task) -> object:  # type: ignore[override]
            return self.bar.render(task) if task.fields.get("counted") else Text("")

    # The description is cut first, so that bar and numbers are always complete.
    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Bar(
        TextColumn("{task.description}", markup=False, table_column=words),
        CountedBar(),
        TextColumn("{task.fields[amount]}", markup=False),
        console=Console(file=stream, highlight=False),
        auto_refresh=False,
        expand=True,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


class Meter:
    """Progress of one piece of work; call it with (done, whole)."""

    def __init__(self, title: str, *, unit: str = "tokens") -> None:
        self._title, self._unit = title, unit
        self._line = ProgressLine(patience=_PATIENCE)

    def __call__(self, done: int, whole: int) -> None:
        amount = f"{done:,}/{whole:,} {self._unit}"
        self._line.show(self._title, done, whole, amount)

    def clear(self) -> None:
        self._line.clear()

    def pause(self, results: TextIO | None = None) -> None:
        """Stop drawing because results begin to appear, if they go to a terminal."""
        if (results or sys.stdout).isatty():
            self._line.stop()


@contextmanager
def meter(title: str, *, unit: str = "tokens") -> Iterator[Meter]:
    drawing = Meter(title, unit=unit)
    try:
        yield drawing
    finally:
        drawing.clear()


@contextmanager
def loading_progress() -> Iterator[OnProgress]:
    """Yield a listener that shows the progress of downloads and loading."""
    line = ProgressLine()
    written = ""

    def show(progress: Progress) -> None:
        nonlocal written
        words = visible_line(progress.what)
        if progress.warning:
            line.lines(f"warning: {words}\n")
        elif line.is_terminal:
            amount, new = _amount(progress), words != written
            written = words
            line.show(words, progress.done, progress.total, amount, at_once=new)
        elif progress.total is not None and words != written:
            written = words
            note(f"{words}\n")

    try:
        yield show
    finally:
        line.clear()


def _amount(progress: Progress) -> str:
    if progress.done is None or not progress.total:
        return ""
    if progress.unit != "bytes":
        return f"{progress.done}/{progress.total} {progress.unit}"
    return f"{progress.done / 1e6:.1f}/{progress.total / 1e6:.1f} MB"
