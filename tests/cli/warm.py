"""What makes a fork a process that was started.

The fork gets all that a started process would have: command line, environment, folder,
session, streams and signals. `tests.cli.forked` gives the orders.
"""

from __future__ import annotations

import fcntl
import io
import os
import signal
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn


@dataclass(frozen=True)
class Order:
    """What a program is started with."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    session: bool
    take_terminal: bool
    ignored: Sequence[int]
    """The signals that whoever starts it ignores."""


def run(order: Order, handles: Sequence[int]) -> NoReturn:
    """Make a fork what a process would be that was started so, and run the program."""
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
        os.close(handle)
    if order.session:
        os.setsid()
    if order.take_terminal:
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)
    for number in order.ignored:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environment)
    sys.stdin = sys.__stdin__ = _opened(0)
    sys.stdout = sys.__stdout__ = _opened(1)
    sys.stderr = sys.__stderr__ = _opened(2)
    from tests.cli import child

    sys.argv[:] = [child.__file__, *order.arguments]
    child.run_scripted()


def _opened(number: int) -> Any:
    """A standard stream, as the interpreter opens it in its UTF-8 mode."""
    writes = number > 0
    raw = io.FileIO(number, "wb" if writes else "rb", closefd=False)
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[number]
    stream = io.TextIOWrapper(
        io.BufferedWriter(raw) if writes else io.BufferedReader(raw),
        encoding="utf-8",
        errors="backslashreplace" if number == 2 else "surrogateescape",
        newline="\n",
        line_buffering=number == 2 or os.isatty(number),
    )
    stream.mode = "w" if writes else "r"  # type: ignore[misc]
    return stream
