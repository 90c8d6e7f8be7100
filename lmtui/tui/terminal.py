"""The terminal that the screens are drawn on: its input, and what becomes of it.

Owns the thread that reads from the terminal. Textual's own ends at a byte that is not
UTF-8, and the program with it as if it had been left. Knows no screen.
"""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass

from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from lmtui.tui.pastes import TerminalInput

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
