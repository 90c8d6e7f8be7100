"""The program on a pseudo-terminal, typed into step by step; every byte it writes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.cli.forked import Process, start

CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What a terminal obeys: moves, colours, modes."""
QUIT = b"\x11"


class Terminal:
    """A running program and what it has written so far."""

    def __init__(self, process: Process, handle: int) -> None:
        self._process, self._handle = process, handle
        self.written = b""

    def type(self, keys: bytes) -> None:
        """Type, or paste, these bytes, and take in what is there by now."""
        os.write(self._handle, keys)
        while self._read(0):
            pass

    def paste(self, text: str) -> None:
        """Paste, in the brackets that the program asks for."""
        self.type(b"\x1b[200~" + text.encode() + b"\x1b[201~")

    def until(self, seen: str | Callable[[str], object], *, since: int = 0) -> str:
        """Read until this is drawn, without regard to colours; the text since then."""
        found = (lambda text: seen in text) if isinstance(seen, str) else seen
        deadline = time.monotonic() + 30
        while not found(text := self.text(since)):
            assert self._read(deadline - time.monotonic()), text[-2000:]
            for _ in range(50):  # to look for it less often
                if not self._read(0.005):
                    break
        return text

    def ask(self, keys: bytes, seen: str | Callable[[str], object]) -> str:
        """Type, then wait for something that is drawn after it."""
        since = len(self.written)
        self.type(keys)
        return self.until(seen, since=since)

    def text(self, since: int = 0) -> str:
        """What was drawn, without colours and moves."""
        return CONTROL.sub("", self.written[since:].decode(errors="replace"))

    def wait(self, condition: Callable[[], object]) -> None:
        """Read on until something is so that is not drawn."""
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.text()[-2000:]
            self._read(0.02)

    def leave(self) -> int:
        """Quit by key; the exit code, after the last byte."""
        self.type(QUIT)
        return self.end()

    def end(self, how: signal.Signals | None = None) -> int:
        """Send a signal, if one is given; the exit code, after the last byte."""
        if how is not None:
            self._process.send_signal(how)
        deadline = time.monotonic() + 20
        while self._read(deadline - time.monotonic()):
            pass
        return self._process.wait(timeout=20)

    def hang_up(self) -> int:
        """Take the terminal away; the exit code."""
        self.close()
        return self._process.wait(timeout=20)

    def close(self) -> None:
        """Close our end of it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _read(self, seconds: float) -> bool:
        """Take in what comes next; False at the end or after so long."""
        if not select.select([self._handle], [], [], max(0.0, seconds))[0]:
            return False
        try:
            part = os.read(self._handle, 65536)
        except OSError:  # the terminal is gone with its last user
            return False
        self.written += part
        return bool(part)


@contextmanager
def running(
    *arguments: str,
    engine: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    size: tuple[int, int] = (40, 120),
    piped: bytes | None = None,
) -> Iterator[Terminal]:
    """The program over a scripted engine with these fields, on rows and columns; its
    stdin is the terminal, or a pipe with this text."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    given = {"TERM": "xterm-256color", "PYTHONUTF8": "1", **(env or {})}
    process = start(
        [json.dumps({"engine": engine or {}}), *arguments],
        stdin=theirs if piped is None else subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        env={**kept, **given},
        session=True,
        take_terminal=piped is not None,
    )
    os.close(theirs)
    if piped is not None:
        assert process.stdin is not None
        process.stdin.write(piped)
        process.stdin.close()
    terminal = Terminal(process, ours)
    try:
        yield terminal
    finally:
        process.kill()
        process.wait(timeout=20)
        terminal.close()
