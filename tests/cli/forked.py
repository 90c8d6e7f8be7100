"""The program with a scripted engine in a process of its own, forked off a warm parent.

To start Python and import the program takes ten times as long as most of what the tests
let it do. The parents, one for each way in which the interpreter is set up, start when
one is needed and end with the tests.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from threading import Lock, Thread
from types import MappingProxyType
from typing import IO, Any

import lmtui.tui  # noqa: F401 (sets a variable that Textual reads)

REPOSITORY = Path(__file__).parents[2]
_UNSET = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES")
_BASE = MappingProxyType({k: v for k, v in os.environ.items() if k not in _UNSET})
_PYTHONS = {signal.SIGPIPE, signal.SIGXFSZ}  # ignored by itself, as by its children
_UTF8 = MappingProxyType({"PYTHONUTF8": "1"})
_READ_AT_ONCE = ("PYTHON", "LC_", "LANG", "TEXTUAL_", *_UNSET)


def start(
    arguments: Sequence[str],
    *,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    session: bool = False,
    take_terminal: bool = False,
    fresh: bool = False,
) -> Process:
    """Start the program. The streams are descriptors, or `subprocess.PIPE`; without one
    it has ours. `session`: as a session's leader, to which `take_terminal` gives the
    terminal of its stdout.

    Python is started for it if `fresh`, or where the environment changes what happens
    before the program runs.
    """
    environment = dict(os.environ if env is None else env)
    parent = None if fresh else _parent_for(environment)
    if parent is None:
        take = partial(fcntl.ioctl, 1, termios.TIOCSCTTY, 0)
        return subprocess.Popen(
            [sys.executable, "-m", "tests.cli.child", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=REPOSITORY,
            env=environment,
            start_new_session=session,
            preexec_fn=take if take_terminal else None,
        )
    order = {
        "arguments": list(arguments),
        "environment": environment,
        "folder": str(REPOSITORY),
        "session": session,
        "take_terminal": take_terminal,
        "ignored": [
            number
            for number in signal.valid_signals() - _PYTHONS
            if signal.getsignal(number) is signal.SIG_IGN
        ],
    }
    return parent.fork(order, stdin, stdout, stderr)


def _parent_for(environment: Mapping[str, str]) -> _Parent | None:
    for utf8 in (False, True):
        base = _BASE | _UTF8 if utf8 else _BASE
        if _setup(base) == _setup(environment):
            return _started(utf8)
    return None


def _setup(environment: Mapping[str, str]) -> dict[str, str]:
    """What the interpreter and the imports read of an environment."""
    return {k: v for k, v in environment.items() if k.startswith(_READ_AT_ONCE)}


@cache
def _started(utf8: bool) -> _Parent:
    return _Parent(_BASE | _UTF8 if utf8 else _BASE)


class _Parent:
    """A process that forks the program on demand."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.warm_parent", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=REPOSITORY,
                env=environment,
                pass_fds=[theirs.fileno()],
            )
        self._answers = self._socket.makefile("rb")
        self._alone = Lock()
        atexit.register(self._end)

    def fork(
        self,
        order: Mapping[str, Any],
        stdin: int | None,
        stdout: int | None,
        stderr: int | None,
    ) -> Forked:
        """Fork a program with such streams."""
        given, theirs, pipes = (stdin, stdout, stderr), [], []
        for number, stream in enumerate(given):
            if stream == subprocess.PIPE:
                ends = os.pipe()
                reads, writes = (1, 0) if number == 0 else (0, 1)
                theirs.append(ends[writes])
                pipes.append(open(ends[reads], "rb" if number else "wb"))  # noqa: SIM115
            else:
                theirs.append(os.dup(number if stream is None else stream))
                pipes.append(None)
        report, written = os.pipe()
        theirs.append(written)
        data = json.dumps(order).encode()
        with self._alone:
            head = struct.pack("!Q", len(data))
            socket.send_fds(self._socket, [head], theirs)
            self._socket.sendall(data)
            for handle in theirs:
                os.close(handle)
            answer = self._answers.readline()
        return Forked(order["arguments"], int(answer), report, *pipes)

    def _end(self) -> None:
        self._answers.close()
        self._socket.close()
        self._process.wait()


@dataclass
class Forked:
    """A forked program, used as a `subprocess.Popen`."""

    args: Sequence[str]
    pid: int
    _report: int
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None
    stderr: IO[bytes] | None
    returncode: int | None = field(default=None, init=False)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._ended_within(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended."""
        code = self._ended_within(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(
        self, data: bytes | None = None, timeout: float | None = None
    ) -> tuple[bytes, bytes]:
        """Write this to its stdin; what it writes until it has ended."""
        said: dict[int, bytes] = {}

        def listen(number: int, stream: IO[bytes] | None) -> None:
            said[number] = stream.read() if stream else b""

        threads = [Thread(target=self._feed, args=[data or b""])] + [
            Thread(target=listen, args=[number, stream])
            for number, stream in enumerate((self.stdout, self.stderr))
        ]
        for thread in threads:
            thread.start()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            for thread in threads:
                thread.join()
        return said[0], said[1]

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *error: object) -> None:
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        self._feed(b"")
        self.wait()

    def _feed(self, data: bytes) -> None:
        """Write the last of its stdin. It need not read that."""
        if self.stdin is None or self.stdin.closed:
            return
        try:
            self.stdin.write(data)
            self.stdin.close()
        except BrokenPipeError:
            pass

    def _ended_within(self, seconds: float | None) -> int | None:
        if self.returncode is None and _is_ready(self._report, seconds):
            self.returncode = int(os.read(self._report, 64))
            os.close(self._report)
        return self.returncode


Process = Forked | subprocess.Popen[bytes]


def _is_ready(handle: int, seconds: float | None) -> bool:
    """Whether something can be read within so long."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0, seconds) * 1000))
