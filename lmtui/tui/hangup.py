"""The terminal went away, or somebody asked the process to end.

Owns how the program notices, and that it then leaves the way Ctrl+Q does. Knows no
screen.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import termios
from collections.abc import Callable

from textual.app import App

_EVERY = 1.0  # seconds between two looks at the terminal


ASKED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""The signals that end the program as Ctrl+Q does."""


def exit_code(name: signal.Signals) -> int:
    """What a shell reports for a program that a signal has ended."""
    return 128 + name


def leave_when_gone(app: App[None], leave: Callable[[int], None]) -> None:
    """Call `leave` with an exit code once the terminal is gone or the process is told
    to end.

    A shell tells its programs that the terminal is gone; whoever runs one without a
    shell may not, and then it would read nothing for ever.
    """
    if app.is_headless:
        return
    loop = asyncio.get_running_loop()
    for name in ASKED:
        loop.add_signal_handler(name, leave, exit_code(name))

    def look() -> None:
        if not terminal_is_there():
            leave(exit_code(signal.SIGHUP))

    app.set_interval(_EVERY, look)


def terminal_is_there() -> bool:
    """Whether there is somebody at the other end of the terminal on stdin."""
    try:
        termios.tcgetattr(sys.__stdin__ or 0)
    except (termios.error, ValueError):
        return False
    return True
