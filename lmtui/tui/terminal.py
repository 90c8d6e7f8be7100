"""The terminal: its driver and input thread, signals, its closing, and the clipboard.

Knows no screen.
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
from typing import Any

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from lmtui.tui.pastes import TerminalInput

_CHECK_INTERVAL = 1.0  # seconds between two checks of the terminal

END_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""Signals that end the app, with the exit code of the signal."""

_CLIPBOARD_TIMEOUT = 3.0  # time limit of a clipboard command
_READ_SIZE = 65_536  # bytes
_POLL_INTERVAL = 0.1  # seconds between two checks whether the app ends


def exit_code(name: signal.Signals) -> int:
    return 128 + name


def leave_when_gone(app: App[None], leave: Callable[[int], None]) -> None:
    """Call `leave` with an exit code when the terminal is closed or a signal arrives.

    A shell sends SIGHUP when the terminal is closed. A program started without a shell
    may not get one, and would wait for input for ever, so the terminal is also checked.
    """
    if app.is_headless:
        return
    loop = asyncio.get_running_loop()
    for name in END_SIGNALS:
        loop.add_signal_handler(name, leave, exit_code(name))

    def check() -> None:
        if not terminal_is_there():
            leave(exit_code(signal.SIGHUP))

    app.set_interval(_CHECK_INTERVAL, check)


def terminal_is_there() -> bool:
    try:
        termios.tcgetattr(sys.__stdin__ or 0)
    except (termios.error, ValueError):
        return False
    return True


def command(environment: Mapping[str, str], platform: str) -> Sequence[str] | None:
    """Return the command that writes stdin to the clipboard, or None without one."""
    commands: list[Sequence[str]] = []
    if platform == "darwin":
        commands.append(("pbcopy",))
    if environment.get("WAYLAND_DISPLAY"):
        commands.append(("wl-copy",))
    if environment.get("DISPLAY"):
        commands += [("xclip", "-selection", "clipboard"), ("xsel", "-ib")]
    return next(
        (candidate for candidate in commands if shutil.which(candidate[0])), None
    )


def copy_text(app: App[Any], text: str) -> None:
    app.copy_to_clipboard(text)
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
                timeout=_CLIPBOARD_TIMEOUT,
                check=False,
            )

    with suppress(RuntimeError):  # no more threads can be started
        Thread(target=run, name="clipboard", daemon=True).start()


@dataclass
class TerminalGone(Message):
    """The terminal is closed."""


@dataclass
class InputFailed(Message):
    """The thread that reads the input has failed."""

    error: Exception


class TerminalDriver(LinuxDriver):
    """Textual's driver with another input thread.

    Textual's thread ends at a byte that is not UTF-8, and the app would end with it as
    if the user had quit. This one decodes such bytes as replacement characters.
    """

    def _sigtstp_application(self, *_: object) -> None:
        """Suspend the whole process group.

        A script that waits for this process would otherwise keep running, and the shell
        would not notice that the job is stopped.
        """
        if self._auto_restart:
            self.suspend_application_mode()
            self._must_signal_resume = True
        os.killpg(0, signal.SIGSTOP)

    def run_input_thread(self) -> None:
        try:
            self._read_input()
        except OSError:
            self.send_message(TerminalGone())
        except Exception as error:
            self.send_message(InputFailed(error))

    def _read_input(self) -> None:
        parser = TerminalInput(debug=self._debug)
        while not self.exit_event.is_set():
            if select.select([self.fileno], [], [], _POLL_INTERVAL)[0]:
                data = os.read(self.fileno, _READ_SIZE)
                if not data:
                    raise OSError("the terminal is closed")
                for message in parser.feed(data):
                    self.process_message(message)
            for message in parser.tick():
                self.process_message(message)
