"""What the measurements share: pairs taken in turn, a terminal for a child, a table."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from lmtui.text import visible

Work = Callable[[], float]
"""Does something once and returns its speed: larger is better."""


def compare(ours: Work, peer: Work, rounds: int) -> tuple[float, float, float]:
    """Median speeds of both and the median of their ratio, taken round by round."""
    ours(), peer()
    pairs = [(ours(), peer()) for _ in range(rounds)]
    mine, theirs = zip(*pairs, strict=True)
    return median(mine), median(theirs), median(a / b for a, b in pairs)


def row(what: str, result: tuple[float, float, float], unit: str) -> None:
    """One line of a table of pairs."""
    ours, peer, ratio = result
    if unit == "s":
        ours, peer = 1 / ours, 1 / peer
    print(
        f"| {what} | {ours:.2f} {unit} | {peer:.2f} {unit} | {ratio:.2f} |", flush=True
    )


def in_terminal(command: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    """A process on a pseudo-terminal of 40 lines and 120 columns, and our end of it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    child = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor"},
        start_new_session=True,
    )
    os.close(theirs)
    return child, ours


def measured_by(script: str, *given: str) -> dict[str, Any]:
    """What a script beside this one measures, in a process and a terminal of its own;
    it is given the file to write to, and then `given`. RuntimeError with the end of
    what it drew if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "measured.json")
        path = str(Path(__file__).with_name(script))
        child, terminal = in_terminal([sys.executable, path, str(out), *given])
        drawn = b""
        with contextlib.suppress(OSError):  # the terminal goes with the process
            while new := os.read(terminal, 65_536):
                drawn = (drawn + new)[-4_000:]
        os.close(terminal)
        if child.wait():
            raise RuntimeError(f"{script}: {visible(drawn.decode(errors='replace'))}")
        measured: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return measured
