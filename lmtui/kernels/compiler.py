"""The C++ compiler, and the shared library that it makes of the kernels' sources.

Needs none of the libraries that the program needs: the build of a wheel uses it, too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

HEAD_DIMS = (64, 80, 96, 128, 256, 512)
"""The widths of a head that most models have."""
_SOURCES = Path(__file__).parent
_LANES = 16  # attention takes widths that are multiples of this
_WIDEST = 512  # any wider has not been tried


class CompilerStopped(Exception):
    """Raised when the compiler was ended by a signal, such as that of Ctrl-C."""


def name() -> str:
    """Return the command of the compiler that torch uses: $CXX, or the system's usual
    one."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def compiler_id() -> str | None:
    """Return the compiler's path and modification time; None where there is none."""
    path = shutil.which(name())
    if path is None:
        return None
    with suppress(OSError):
        file = Path(path).resolve()
        return f"{file} {file.stat().st_mtime_ns}"
    return None


def supports_attention(head_dim: int) -> bool:
    """Return whether attention can be compiled for heads of a width."""
    return head_dim % _LANES == 0 and 0 < head_dim <= _WIDEST


def compile_library(
    file: Path,
    head_dims: Iterable[int],
    options: Sequence[str],
    link: Sequence[str] = (),
) -> None:
    """Compile all kernels into a shared library: products with the blocks of GGUF files
    in each format, and attention for heads of some widths. `options` and `link` are
    further arguments of the compiler, and of the command that links.

    Raises:
        RuntimeError: the compiler failed, in its words.
        CompilerStopped: it was stopped.
    """
    widths = ",".join(map(str, head_dims))
    options = ["-std=c++17", "-O3", *options, "-pthread", "-fPIC"]

    def compiled(source: Path) -> Path:
        made = file.with_name(f"{file.stem}-{source.stem}.o")
        attends = source.name.startswith("attention")
        macro = [f"-DHEAD_WIDTHS={widths}"] if attends else []
        _run([name(), *options, *macro, "-c", str(source), "-o", str(made)])
        return made

    # The longest first: begun last, it would keep one processor for itself at the end.
    sources = sorted(_SOURCES.glob("*.cpp"), key=os.path.getsize, reverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as compilers:
        objects = [*compilers.map(compiled, sources)]
    _run([name(), "-pthread", "-shared", *map(str, objects), *link, "-o", str(file)])
    for object_file in objects:
        object_file.unlink()


def sources_digest() -> str:
    """Return a SHA-256 of all C++ sources."""
    files = sorted([*_SOURCES.glob("*.cpp"), *_SOURCES.glob("*.h")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _run(command: Sequence[str]) -> None:
    # Keys are answered meanwhile. Beside two busy processes, the default of 10 would
    # take three times as long.
    command = ["nice", "-n4", *command]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"{command[0]}: {error.strerror}") from error
    if done.returncode < 0:  # by Ctrl-C, or with the terminal: not the compiler's fault
        raise CompilerStopped("the compiler was stopped")
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{command[2]} failed")
