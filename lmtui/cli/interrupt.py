"""Ctrl-C while the engine works.

The first one asks it to stop, so that what was made so far ends properly; the
second does not wait.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType

from lmtui.engine.port import Stop


@contextmanager
def stop_on_interrupt() -> Iterator[Stop]:
    """A flag for the engine that the first Ctrl-C raises; the second interrupts."""
    asked = Event()
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or current_thread() is not main_thread():
        yield asked.is_set  # told to ignore it, as under nohup
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
