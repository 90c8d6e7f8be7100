"""The terminal that the screens are drawn on: its input, and what becomes of it.

Owns the thread that reads from the terminal. Textual's own ends at a byte that is not
UTF-8, and the program with it as if it had been left. Knows no screen.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from lmtui.tui.pastes import TerminalInput

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


_SECONDS = 3.0


def command(environment: Mapping[str, str], platform: str) -> Sequence[str] | None:
    """What takes a text for the clipboard here; None where nothing does."""
    found: list[Sequence[str]] = []
    if platform == "darwin":
        found.append(("pbcopy",))
    if environment.get("WAYLAND_DISPLAY"):
        found.append(("wl-copy",))
    if environment.get("DISPLAY"):
        found += [("xclip", "-selection", "clipboard"), ("xsel", "-ib")]
    return next((each for each in found if shutil.which(each[0])), None)


def copy_here(text: str) -> None:
    """Give a text to the clipboard of this machine, if it has one."""
    tool = command(os.environ, sys.platform)
    if tool is None:
        return

    def run() -> None:
        with suppress(OSError, subprocess.SubprocessError):
            subprocess.run(
                tool,
                input=text.encode("utf-8", "replace"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_SECONDS,
                check=False,
            )

    Thread(target=run, name="clipboard", daemon=True).start()


_AT_ONCE = 65_536  # bytes
_LOOK_EVERY = 0.1  # seconds between two looks at whether the program ends


@dataclass
class TerminalGone(Message):
    """Nothing more can come from the terminal."""


@dataclass
class InputFailed(Message):
    """What reads from the terminal broke, and no key will come any more."""

    error: Exception


class TerminalDriver(LinuxDriver):
    """Textual's driver with input of our own."""

    def _sigtstp_application(self, *_: object) -> None:
        """Leave the terminal and stop, with all that was started together: a script
        that waits for this process would go on waiting, and no shell would notice."""
        if self._auto_restart:
            self.suspend_application_mode()
            self._must_signal_resume = True
        os.killpg(0, signal.SIGSTOP)

    def run_input_thread(self) -> None:
        """Read until the program ends; say why, if it is the reading that ends."""
        try:
            self._read_input()
        except OSError:
            self.send_message(TerminalGone())
        except Exception as error:
            self.send_message(InputFailed(error))

    def _read_input(self) -> None:
        arrived = TerminalInput(debug=self._debug)
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], _LOOK_EVERY)[0]:
                data = os.read(self.fileno, _AT_ONCE)
                if not data:
                    raise OSError("the terminal is closed")
                for message in arrived.feed(data):
                    self.process_message(message)
            for message in arrived.tick():
                self.process_message(message)
