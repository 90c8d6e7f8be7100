"""Processes of this program that do a part of its work.

Owns how one begins: where it looks for modules, and how it learns that the process that
began it is gone, which holds the other end of its stdin. Knows no work.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import lmtui

MODULE: Sequence[str] = (sys.executable, "-P", "-m")
"""What runs a module. Without -P, Python files that happen to lie where it starts could
take the place of modules."""


def begin(
    command: Sequence[str], output: IO[bytes], *, beneath: bool = False
) -> subprocess.Popen[bytes]:
    """Begin a process whose stdin is a pipe, and what it prints goes to `output`.
    Signals of the terminal do not reach it.

    One that is to compute only where nothing else does goes `beneath`: Linux gives
    every session an equal share first, and looks at priorities within each.

    Raises:
        OSError: there is no such program, or no room for one more process.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        env={**os.environ, "PYTHONPATH": _path()},
        start_new_session=not beneath,
        process_group=0 if beneath else None,
    )


def _path() -> str:
    """Where it looks for modules: first where this program is."""
    ours = str(Path(lmtui.__file__).parents[1])
    return os.pathsep.join(filter(None, (ours, os.environ.get("PYTHONPATH"))))
