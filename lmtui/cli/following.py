"""A training followed in the shell, and Ctrl-C while it runs.

Owns what being told to end means: the first time it finishes the step and saves, the
second time it leaves at once. Knows the training only by its events.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

from lmtui.cli.edge import STOPPED, note
from lmtui.cli.training_view import View
from lmtui.train.client import Training
from lmtui.train.events import End

EVERY = 0.1
"""Seconds between two looks at what it tells."""

LAST = 10.0
"""Seconds that a process may take to go after its last word."""

SAVING = "finishing the step and saving; Ctrl-C again leaves at once\n"
LEAVING = "stopping; nothing was trained\n"

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Asked:
    """How often the process was told to end, and by which signal first."""

    def __init__(self) -> None:
        self.times = 0
        self.code = STOPPED
        """The exit code of a process that ends because of it."""

    def note(self, number: int, frame: FrameType | None) -> None:
        """Count a signal."""
        if not self.times:
            self.code = 128 + number
        self.times += 1


@contextmanager
def asked_to_end() -> Iterator[Asked]:
    """Count the signals to end; one that is ignored, as under nohup, stays so."""
    asked = Asked()
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if current_thread() is not main_thread():
        before = {}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, asked.note)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(
    training: Training,
    views: Sequence[View],
    asked: Asked,
    *,
    say: Callable[[str], None] = note,
) -> None:
    """Show what a training tells until it is over; `say` writes a line to a person."""
    obeyed = 0
    while True:
        while obeyed < min(asked.times, 2):
            obeyed += 1
            training.stop()
            if obeyed == 1:
                say(SAVING if training.began else LEAVING)
        for event in training.poll():
            for view in views:
                view.show(event)
            if isinstance(event, End):
                training.wait(LAST)
                training.poll()  # what it held is free again
                return
        training.wait(EVERY)
