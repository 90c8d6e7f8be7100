"""Running the program as a user would, through pipes or a terminal; as a process where
that matters, and else in this one."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from lmtui import paths
from lmtui.chat.store import Store
from lmtui.cli.main import main
from lmtui.engine.protocol import Engine
from tests.cli import child
from tests.cli.forked import REPOSITORY as REPOSITORY
from tests.cli.forked import Process, start

SGR = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Result:
    """How a run ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Stdout as JSON lines, with NaN and infinity refused."""
        return [
            json.loads(line, parse_constant=_refuse)
            for line in self.out.split("\n")[:-1]
        ]


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} in JSON")


def command(arguments: Sequence[str], script: Mapping[str, Any]) -> list[str]:
    """The command line of the program with a scripted engine."""
    return [sys.executable, "-m", "tests.cli.child", json.dumps(script), *arguments]


def run(
    *arguments: str,
    script: Mapping[str, Any] | None = None,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
    engine: Engine | None = None,
    fresh: bool = False,
) -> Result:
    """Run the program through pipes, in this process, with another engine if one is
    given; or, if `fresh`, in an interpreter that starts for it."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    if not fresh:
        return _run_here(arguments, script or {}, given, env or {}, engine)
    done = subprocess.run(
        command(arguments, script or {}),
        input=given,
        capture_output=True,
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def _run_here(
    arguments: Sequence[str],
    script: Mapping[str, Any],
    stdin: bytes,
    env: Mapping[str, str],
    engine: Engine | None,
) -> Result:
    written = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(raw, "utf-8", newline="\n") for raw in written)
    with pytest.MonkeyPatch.context() as patch, chdir(REPOSITORY):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        for name, value in env.items():
            patch.setenv(name, value)
        opened = child.prepared(script, patch.setattr)
        code = main(arguments, open_engine=lambda asked: engine or opened(asked))
    for stream in (out, err):
        stream.flush()
    return Result(code, *(raw.getvalue().decode() for raw in written))


def run_in_terminal(
    *arguments: str,
    script: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    size: tuple[int, int] = (24, 80),
    typed: Sequence[tuple[bytes, bytes]] = (),
) -> tuple[int, bytes]:
    """Run the program on a pseudo-terminal: its exit code and the raw bytes.

    `typed`: what to type once such bytes have been written, in this order.
    """
    with started(*arguments, script=script, env=env, size=size) as (child, ours):
        written = b"".join(_answering(ours, list(typed)))
        return child.wait(timeout=60), written


def stored_texts() -> list[list[str]]:
    """The texts of each stored conversation, its system prompt first; the last used
    conversation first."""
    store = Store(paths.chats_file())
    found = [store.load(about.id).conversation for about in store.listed()]
    store.close()
    return [[node.content for node in chat.path] for chat in found]


@contextmanager
def begun(
    *arguments: str,
    script: Mapping[str, Any] | None = None,
    stdin: int | None = None,
    stdout: int = subprocess.PIPE,
    env: Mapping[str, str] | None = None,
    fresh: bool = False,
) -> Iterator[Process]:
    """The program at work, with pipes; it is ended at the end."""
    with start(
        [json.dumps(script or {}), *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        fresh=fresh,
    ) as child:
        try:
            yield child
        finally:
            if child.poll() is None:
                child.kill()


@contextmanager
def started(
    *arguments: str,
    script: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    size: tuple[int, int] = (24, 80),
) -> Iterator[tuple[Process, int]]:
    """The program running on a pseudo-terminal, and our end of that."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    terminal = {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
    with start(
        [json.dumps(script or {}), *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **terminal, **(env or {})},
        session=True,
    ) as child:
        os.close(theirs)
        try:
            yield child, ours
        finally:
            if child.poll() is None:
                child.kill()
            os.close(ours)


def hang_up(terminal: int) -> None:
    """Take the terminal away; the number is closed with the others."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, terminal)
    os.close(nothing)


def read_until(handle: int, cue: bytes) -> bytes:
    """What is written on a terminal up to where the cue appears, or the end."""
    written = b""
    while cue not in _CONTROL.sub(b"", written) and (part := _read(handle)):
        written += part
    return written


def _answering(handle: int, typed: list[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """What is written on a terminal, while the next keys are typed at each cue. A cue
    can be drawn in parts, with control sequences between them."""
    heard = b""
    while part := _read(handle):
        heard += part
        if typed and typed[0][0] in _CONTROL.sub(b"", heard):
            heard = b""
            os.write(handle, typed.pop(0)[1])
        yield part


def _read(handle: int) -> bytes:
    try:
        return os.read(handle, 65536)
    except OSError:  # the terminal is gone with its last user
        return b""
