"""Drawing how far long work is, on stderr.

Owns the bar. On a terminal it is a bar that goes away; elsewhere one plain line for
each kind of work that takes long, so that a log stays readable. Warnings stay in
both.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from lmtui.models.progress import OnProgress, Progress
from lmtui.text import visible_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


@contextmanager
def loading_progress() -> Iterator[OnProgress]:
    """A listener for the reports of fetching and loading, drawn on stderr."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Lines().show
        return
    with _bar() as bar:
        yield _Drawn(bar).show


class _Lines:
    """One line a kind of work."""

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
    """The bar, showing the work that was reported last."""

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
    # Imported here: a program whose stderr is no terminal needs none of it.
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    # A long file name gives way, so that bar and numbers are always seen whole.
    words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    return Bar(
        TextColumn("{task.description}", markup=False, table_column=words),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[amount]}", markup=False),
        console=Console(stderr=True, highlight=False),
        expand=True,
        transient=True,
    )
