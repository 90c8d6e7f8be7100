"""The program with a scripted engine in a process of its own, forked off a warm parent.

To start Python and import the program takes ten times as long as most of what the tests
let it do. The parent is the fork server of `multiprocessing`: it starts when one is
needed, imports what takes long, and ends with the tests.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from multiprocessing import forkserver, reduction
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import lmtui.tui  # noqa: F401 (sets a variable that Textual reads)
from lmtui.cli.main import VERBS
from tests.cli import warm

REPOSITORY = Path(__file__).parents[2]
_UNSET = ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "COLUMNS", "LINES")
_BASE = MappingProxyType(
    {name: value for name, value in os.environ.items() if name not in _UNSET}
    | {"PYTHONUTF8": "1"}
)
_READ_AT_ONCE = ("PYTHON", "LC_", "LANG", "TEXTUAL_", *_UNSET)
"""How the names of variables begin that the interpreter and the imports read."""
MODULES = (
    "tests.cli.child",
    "tests.cli.warm",
    "lmtui.cli.once",
    "lmtui.cli.screen",
    "lmtui.cli.finetune.run",
    "lmtui.cli.inspect.plain",
    "lmtui.learn.figure_lines",
    "lmtui.learn.instruments.catalogue",
    "lmtui.chat.writer",
    "lmtui.tui.app",
    "lmtui.tui.chat.screen",
    "lmtui.tui.editor.screen",
    "lmtui.tui.finetune.screen",
    "lmtui.tui.inspector.screen",
    "lmtui.tui.themes",
    "psutil",
    "rich.cells",
    "textual.pilot",
)
"""What takes long to import. Nothing of it loads torch or opens a file."""
_PYTHONS = {signal.SIGPIPE, signal.SIGXFSZ}  # ignored by itself, as by its children


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
    if fresh or _setup(environment) != _setup(_BASE):
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
    ignored = [
        number
        for number in signal.valid_signals() - _PYTHONS
        if signal.getsignal(number) is signal.SIG_IGN
    ]
    order = warm.Order(
        list(arguments), environment, str(REPOSITORY), session, take_terminal, ignored
    )
    return Forked(order, (stdin, stdout, stderr))


def _setup(environment: Mapping[str, str]) -> dict[str, str]:
    read = {k: v for k, v in environment.items() if k.startswith(_READ_AT_ONCE)}
    return {"PYTHONUTF8": "1"} | read


@cache
def _ensure_parent() -> None:
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(_BASE | {"PYTHONPATH": str(REPOSITORY)})
        verbs = (f"lmtui.cli.{place.partition(':')[0]}" for place in VERBS.values())
        forkserver.set_forkserver_preload([*verbs, *MODULES])
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


class _Streams:
    """Descriptors that are handed over with a new process."""

    def __init__(self, handles: Sequence[int]) -> None:
        self.handles = list(handles)

    def __getstate__(self) -> list[Any]:
        return [reduction.DupFd(handle) for handle in self.handles]

    def __setstate__(self, state: list[Any]) -> None:
        self.handles = [handle.detach() for handle in state]


def _run(order: warm.Order, streams: _Streams) -> None:
    warm.run(order, streams.handles)


class Forked:
    """A forked program, used as a `subprocess.Popen`."""

    def __init__(self, order: warm.Order, streams: Sequence[int | None]) -> None:
        _ensure_parent()
        self.args = order.arguments
        theirs: list[int] = []
        pipes: list[IO[bytes] | None] = []
        for number, stream in enumerate(streams):
            if stream == subprocess.PIPE:
                reads, writes = os.pipe()
                theirs.append(writes if number else reads)
                ours = (reads, "rb") if number else (writes, "wb")
                pipes.append(open(*ours))  # noqa: SIM115
            else:
                theirs.append(os.dup(number if stream is None else stream))
                pipes.append(None)
        self.stdin, self.stdout, self.stderr = pipes
        context = multiprocessing.get_context("forkserver")
        self._process: ForkServerProcess = context.Process(
            target=_run, args=(order, _Streams(theirs)), daemon=True
        )
        self._process.start()
        for handle in theirs:
            os.close(handle)
        assert self._process.pid
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once it has ended."""
        self._process.join(timeout)
        code = self.returncode
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

    def communicate(self, *, timeout: float | None = None) -> tuple[bytes, bytes]:
        """What it writes until it has ended."""
        with ThreadPoolExecutor() as pool:
            out, err = pool.map(_rest, (self.stdout, self.stderr))
        self.wait(timeout)
        return out, err

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *error: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait()


def _rest(stream: IO[bytes] | None) -> bytes:
    return stream.read() if stream else b""


Process = Forked | subprocess.Popen[bytes]
