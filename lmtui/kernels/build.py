"""Compile the C++ kernels for this machine and cache the results for later starts.

A cached library is used only if the same torch on the same processor made it and only
this user can have written it. Compiler failures are noted and not repeated. Loads no
library and knows no weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.kernels import cpu_features
from lmtui.kernels.gguf_matmul import FORMATS, GgufMatmulKernel

ATTENTION = "attention.so"
GGUF_MATMUL = "gguf.so"
_SOURCES = Path(__file__).parent
_FAILED = "-failed.json"
_DIGESTS = "digests.json"
_LAYOUT = "7"  # of everything compiled; another number gives another folder
_LANES = 16  # attention takes head widths that are multiples of this
_WIDEST = 256  # head width up to which a query's accumulators stay in registers


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


class NotCompiled(Exception):
    """Raised with the reason why the kernels can't be compiled or cached."""


def supports_attention(head_dim: int) -> bool:
    """Return whether the attention kernel can be compiled for heads of width
    `head_dim`."""
    return head_dim % _LANES == 0 and head_dim <= _WIDEST


def build_attention(head_dim: int, share: int, folder: Path) -> None:
    """Compile the attention kernels for heads of width `head_dim`, of which `share`
    query heads use one key head.

    Raises:
        RuntimeError: the compiler failed, in its words.
        NotCompiled: it was stopped.
    """
    sources = "attention_decode.cpp", "attention_prefill.cpp"
    _build(sources, folder / ATTENTION, HEAD=head_dim, GQA=share)


def build_gguf_matmul(
    folder: Path,
    formats: Iterable[str] = FORMATS,
    heads: tuple[int, int] | None = None,
) -> None:
    """Compile the matrix products with blocks of GGUF files in some formats, and check
    that they read the blocks as the `gguf` package does. With `heads`, the arguments of
    `build_attention`, whole layers are compiled as well.

    Raises:
        RuntimeError: the compiler failed, in its words; or its result is wrong.
        NotCompiled: it was stopped.
    """
    formats = tuple(formats)
    bits = sum(1 << FORMATS[name].number for name in formats)
    formats_of = "gguf_formats.cpp", "gguf_formats_avx2.cpp"  # one of them is empty
    sources = ["gguf_matmul.cpp", "gguf_prefill.cpp", *formats_of]
    macros = {"FORMATS": bits}
    if heads is not None:
        sources += ["attention_decode.cpp", "llama_layers.cpp"]
        macros |= dict(zip(("HEAD", "GQA"), heads, strict=True))
    _build(sources, folder / GGUF_MATMUL, **macros)
    try:
        GgufMatmulKernel(folder / GGUF_MATMUL, formats).require_exact()
    except (OSError, AttributeError, ValueError) as error:
        raise RuntimeError(str(error)) from error


def _build(sources: Sequence[str], file: Path, **sizes: float) -> None:
    """Compile sources side by side and link them as a shared library; `sizes` are
    macros."""
    macros = [f"-D{name}={size}" for name, size in sizes.items()]
    native = cpu_features.compiler_options()
    options = ["-std=c++17", "-O3", *native, "-pthread", "-fPIC", *macros]

    sources = [*sources, "thread_pool.cpp"]

    def compiled(source: str) -> str:
        made = str(file.with_name(f"{file.stem}-{source}.o"))
        _run([name(), *options, "-c", str(_SOURCES / source), "-o", made])
        return made

    with ThreadPoolExecutor() as compilers:
        objects = [*compilers.map(compiled, sources)]
    _run([name(), "-pthread", "-shared", *objects, "-o", str(file)])
    for each in objects:
        Path(each).unlink()


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"{command[0]}: {error.strerror}") from error
    if done.returncode < 0:  # by Ctrl-C, or with the terminal: not the compiler's fault
        raise NotCompiled("the compiler was stopped")
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{command[0]} failed")


def root() -> Path:
    """Return the folder that holds one folder per compiled plan."""
    return cache_dir.root("compiled")


def folder_of(plan: Mapping[str, Any]) -> Path:
    """Return the folder for the libraries that `plan` describes, compiled or not."""
    said = json.dumps([plan, made_by()], sort_keys=True)
    return root() / hashlib.sha256(said.encode()).hexdigest()[:24]


def made_by() -> dict[str, str]:
    """Return what a compiled library depends on: torch, this module's layout and the
    processor, since the compiler may use all of its instructions."""
    return _of_this_version() | {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "instructions": cpu_features.instructions(),
    }


def _of_this_version() -> dict[str, str]:
    return {"torch": torch.__version__, "layout": _LAYOUT}


def count() -> int:
    """Return how many folders of compiled libraries can be used here."""
    return sum(is_usable(folder) for folder, _, _ in cache_dir.folders(root()))


def is_usable(folder: Path) -> bool:
    """Return whether a folder is complete, was made under the same conditions, and can
    be trusted. Loading a library runs its code, so that others must not have written
    it."""
    # In this order: `is_complete` makes a folder private, which would hide that others
    # could write to it.
    return _is_ours(folder) and cache_dir.is_complete(folder, made_by())


def _is_ours(folder: Path) -> bool:
    """Return whether only this user can have written to a folder, and its files match
    their digests."""
    with suppress(OSError):  # another user's, or a read-only disk
        _require_own(root())
        root().chmod(0o755 & root().stat().st_mode)
    try:
        for place in (root(), folder, *folder.iterdir()):
            _require_own(place)
            if place.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
        digests = json.loads((folder / _DIGESTS).read_bytes())
        return bool(digests == _digests_of(folder))
    except (OSError, ValueError):
        return False


def _require_own(path: Path) -> None:
    """Check that a path is a file or folder of this user, and no link.

    Raises:
        PermissionError: it is not.
    """
    about = path.lstat()
    plain = stat.S_ISDIR(about.st_mode) or stat.S_ISREG(about.st_mode)
    if not plain or about.st_uid != os.geteuid():
        raise PermissionError(None, "it belongs to another user", str(path))


def _digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each compiled file in a folder, by name."""
    files = (file for file in folder.iterdir() if file.suffix != ".json")
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def store(scratch: Path, folder: Path, *, source: str) -> None:
    """Move a folder of compiled files into the cache as `folder`, and remove the
    folders that this version can't use.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    (scratch / _DIGESTS).write_text(json.dumps(_digests_of(scratch)))
    if not is_usable(folder):
        cache_dir.discard(folder)  # complete, but not trusted
    cache_dir.commit_dir(scratch, folder, source=source, made_by=made_by())
    for other, _, _ in cache_dir.folders(root()):
        # Folders of another processor stay: machines can share a home directory.
        if not _is_ours(other) or not cache_dir.is_complete(other, _of_this_version()):
            cache_dir.discard(other)


def note_failure(folder: Path, compiler: str, why: str) -> None:
    """Write a note that a compiler failed to fill `folder`, with its message."""
    note = json.dumps({"compiler": compiler, "why": why})
    with suppress(OSError):
        paths.write_atomically(_note_of(folder), note.encode())


def failures(compiler: str) -> dict[Path, str]:
    """Return the noted failures of a compiler: its message, by the note's path."""
    found = {}
    for file in root().glob(f"*{_FAILED}"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            note = json.loads(file.read_bytes())
            if note["compiler"] == compiler:
                found[file] = str(note["why"])
    return found


def failure(folder: Path, compiler: str) -> str | None:
    """Return the message with which a compiler failed to fill `folder`, or None."""
    return failures(compiler).get(_note_of(folder))


def _note_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _FAILED)


@dataclass(frozen=True, slots=True)
class KernelPlan:
    """What the kernels of a model are compiled for."""

    head_dim: int
    """The width of a head."""
    share: int
    """The number of query heads that use one key head."""
    formats: tuple[str, ...]
    """The formats of its matrices."""


def compiled_for(plan: KernelPlan) -> Path:
    """Return the folder with the matrix products and, where it can be compiled, the
    attention of a model; compile them first if they are not cached.

    Raises:
        NotCompiled: they can't be compiled or cached.
    """
    folder = folder_of({"sources": _sources()} | asdict(plan))
    if is_usable(folder):
        return folder
    compiler = compiler_id()
    if compiler is None:
        raise NotCompiled(f"there is no C++ compiler {name()}")
    if (why := failure(folder, compiler)) is not None:
        raise NotCompiled(why)
    try:
        with (
            paths.scratch_folder(paths.ensure_folder(root())) as scratch,
            ThreadPoolExecutor(1) as compilers,
        ):
            has_attention = supports_attention(plan.head_dim)
            heads = (plan.head_dim, plan.share) if has_attention else None
            product = compilers.submit(build_gguf_matmul, scratch, plan.formats, heads)
            if heads is not None:
                build_attention(*heads, scratch)
            product.result()
            store(scratch, folder, source=f"heads of {plan.head_dim}")
    except RuntimeError as error:
        words = str(error).partition("\n")[0]
        note_failure(folder, compiler, words)
        raise NotCompiled(words) from error
    except (OSError, LmtuiError) as error:
        if not is_usable(folder):  # otherwise another process has made it meanwhile
            raise NotCompiled(f"it can't be kept: {error}") from error
    return folder


def _sources() -> str:
    """Return a SHA-256 of all C++ sources."""
    files = sorted([*_SOURCES.glob("*.cpp"), *_SOURCES.glob("*.h")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
