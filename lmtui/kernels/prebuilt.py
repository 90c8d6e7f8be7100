"""Libraries of kernels that a wheel has: one for each class of x86 instructions.

Needs none of the libraries that the program needs: the build of a wheel uses it, too.
"""

from __future__ import annotations

from pathlib import Path

from lmtui.kernels import cpu_features, digests
from lmtui.kernels.compiler import HEAD_DIMS, compile_library

FOLDER = Path(__file__).with_name("libraries")
_LINK = ("-static-libstdc++", "-static-libgcc", "-Wl,--exclude-libs,ALL", "-s")
"""Options with which a library needs nothing but the system's C library."""


def make(folder: Path) -> None:
    """Compile the libraries of all classes into a folder.

    Raises:
        RuntimeError: the compiler failed, in its words.
        CompilerStopped: it was stopped.
    """
    for class_ in cpu_features.CLASSES:
        compile_library(_of(class_.name, folder), HEAD_DIMS, class_.options, _LINK)
    digests.write(folder)


def library() -> Path | None:
    """Return the package's own library for this processor; None where it has none, or
    was damaged."""
    file = _of(cpu_features.instruction_class(), FOLDER)
    try:
        return file if digests.is_right(file) else None
    except (OSError, ValueError, KeyError):
        return None


def _of(name: str, folder: Path) -> Path:
    return folder / f"{name}.so"
