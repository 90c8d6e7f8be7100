"""The C++ compiler on this machine.

Owns where torch would find it, and what tells one from another. Compiles nothing, and
needs no torch.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path


def name() -> str:
    """What torch calls: what CXX says, or the system's usual one."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def found() -> str | None:
    """Where the compiler is, and when it was last changed; None where there is none."""
    path = shutil.which(name())
    if path is None:
        return None
    with suppress(OSError):
        file = Path(path).resolve()
        return f"{file} {file.stat().st_mtime_ns}"
    return None
