"""`python -m tests.cli.warm_parent SOCKET`: fork the program with a scripted engine.

The interpreter imports what the program needs, computes nothing, and forks for each
order that `tests.cli.forked` sends. The fork gets all that a started process would
have: command line, environment, folder, session, streams and signals.
"""

from __future__ import annotations

import fcntl
import gc
import io
import json
import os
import signal
import socket
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import typer

MODULES = (
    "tests.cli.child",
    "lmtui.cli.once",
    "lmtui.cli.screen",
    "lmtui.cli.finetune.run",
    "lmtui.cli.inspect.plain",
    "lmtui.cli.learn.dialog",
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

_REPORTS: dict[int, int] = {}  # of each fork, where its exit code is written to


def main(ours: socket.socket) -> list[str] | None:
    """Fork at each order until the other end is gone; in a fork, what to run there."""
    _import_all()
    gc.collect()
    gc.freeze()
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:  # by the test that comes first
            signal.signal(number, signal.SIG_DFL)
    before = signal.signal(signal.SIGCHLD, _report)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends without a word
    while order := _next_order(ours):
        told, handles = order
        with _children_wait():
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGCHLD, before)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for handle in (ours.fileno(), handles[-1], *_REPORTS.values()):
                    os.close(handle)
                ours.detach()
                return _as_started(told, handles[:3])
            _REPORTS[pid] = handles[3]
        for handle in handles[:3]:
            os.close(handle)
        ours.sendall(b"%d\n" % pid)
    return None


def _import_all() -> None:
    from lmtui.cli.main import VERBS, app

    verbs = (f"lmtui.cli.{place.partition(':')[0]}" for place in VERBS.values())
    for name in (*verbs, *MODULES):
        import_module(name)
    # The parser imports more when it reads its first arguments.
    typer.main.get_command(app).make_context("lmtui", ["config"])


def _next_order(ours: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    head, handles, *_ = socket.recv_fds(ours, 8, 4)
    if not head:
        return None
    (size,) = struct.unpack("!Q", head)
    written = b""
    while len(written) < size:
        written += ours.recv(size - len(written))
    return json.loads(written), handles


@contextmanager
def _children_wait() -> Iterator[None]:
    """Be told only afterwards that a child has ended."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _report(number: int, frame: object) -> None:
    """Tell the exit codes of all forks that have ended."""
    while _REPORTS:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        report = _REPORTS.pop(pid)
        os.write(report, b"%d" % os.waitstatus_to_exitcode(status))
        os.close(report)


def _as_started(told: dict[str, Any], handles: list[int]) -> list[str]:
    """Make a fork what a process would be that was started so; its arguments."""
    for number, handle in enumerate(handles):
        os.dup2(handle, number)
        os.close(handle)
    if told["session"]:
        os.setsid()
    if told["take_terminal"]:
        fcntl.ioctl(1, termios.TIOCSCTTY, 0)
    for number in told["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    sys.stdin = sys.__stdin__ = _opened(0, sys.stdin)
    sys.stdout = sys.__stdout__ = _opened(1, sys.stdout)
    sys.stderr = sys.__stderr__ = _opened(2, sys.stderr)
    return list(told["arguments"])


def _opened(number: int, like: Any) -> Any:
    """A standard stream, as the interpreter opens it; it encodes as another does."""
    writes = number > 0
    raw = io.FileIO(number, "wb" if writes else "rb", closefd=False)
    raw.name = like.name
    stream = io.TextIOWrapper(
        io.BufferedWriter(raw) if writes else io.BufferedReader(raw),
        encoding=like.encoding,
        errors=like.errors,
        newline="\n",
        line_buffering=number == 2 or os.isatty(number),
    )
    stream.mode = "w" if writes else "r"  # type: ignore[misc]
    return stream


if __name__ == "__main__":
    asked = main(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        from tests.cli import child

        sys.argv[:] = [child.__file__, *asked]
        child.run_scripted()
