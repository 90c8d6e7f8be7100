"""What this machine's compiler makes for it, kept for the next start.

Owns how a source that lies here becomes machine code, the folders that hold what was
compiled, what can use them, that nobody else has written them, and the notes about what
a compiler failed with. Opens nothing that was compiled, and knows no weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.kernels import cpu_features


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


ATTENTION = "attention.so"
PRODUCTS = "products.so"
CROSSING = "crossing.so"
_SOURCES = Path(__file__).parent
_FAILED = "-failed.json"
_DIGESTS = "digests.json"
_LAYOUT = "5"  # of all that is compiled: another one is another folder
_LANES = 16  # numbers that attention takes at once
_WIDEST = 256  # of a head, so that what is kept of one query stays in registers
_X86 = ("x86_64", "AMD64")


class NotCompiled(Exception):
    """Why there is nothing compiled."""


def attends(head: int) -> bool:
    """Whether attention can be compiled for heads of this width."""
    return head % _LANES == 0 and head <= _WIDEST


def build_attention(head: int, share: int, folder: Path) -> None:
    """Compile attention for heads of a width, so many of which share their keys.

    Raises:
        RuntimeError: the compiler failed, in its words.
    """
    sources = "attention_decode.cpp", "attention_prefill.cpp"
    _build(sources, folder / ATTENTION, HEAD=head, GROUP=share)


def crosses() -> bool:
    """Whether there is a source for what lies between two attentions: for processors
    that multiply bfloat16, whose order of packed weights it knows."""
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return wide and cpu_features.has_features("avx512_bf16", "avx512vbmi")


def build_crossing(folder: Path, **sizes: float) -> None:
    """Compile that source for the sizes of a plan.

    Raises:
        RuntimeError: the compiler failed, in its words.
    """
    _build(["fused_block.cpp"], folder / CROSSING, **sizes)


def build_products(folder: Path) -> None:
    """Compile the products with matrices of 16 bits.

    Raises:
        RuntimeError: the compiler failed, in its words.
    """
    _build(["half_matmul.cpp"], folder / PRODUCTS)


def _build(sources: Sequence[str], file: Path, **sizes: float) -> None:
    native = "-march=native" if platform.machine() in _X86 else "-mcpu=native"
    threads = [] if sys.platform == "darwin" else ["-fopenmp"]  # Apple's has none
    command = [
        *(name(), "-std=c++17", "-O3", native, *threads, "-shared", "-fPIC"),
        *(f"-D{name}={size}" for name, size in sizes.items()),
        *(str(_SOURCES / source) for source in sources),
        *("-o", str(file)),
    ]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{command[0]} failed")


def root() -> Path:
    """Where the folders of all that was compiled are."""
    return cache_dir.root("compiled")


def folder_of(plan: Mapping[str, Any]) -> Path:
    """Where what a plan says is kept, once it is compiled."""
    said = json.dumps([plan, made_by()], sort_keys=True)
    return root() / hashlib.sha256(said.encode()).hexdigest()[:24]


def made_by() -> dict[str, str]:
    """What can use what is compiled here: the compiler is told to use all that this
    very processor can do."""
    return _of_this_version() | {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "instructions": cpu_features.instructions(),
    }


def _of_this_version() -> dict[str, str]:
    return {"torch": torch.__version__, "layout": _LAYOUT}


def count() -> int:
    """How many folders of what was compiled can be used here."""
    return sum(is_kept(folder) for folder, _, _ in cache_dir.folders(root()))


def is_kept(folder: Path) -> bool:
    """Whether a folder is complete, made by the same, and can be trusted: opening a
    library runs code of it."""
    # In this order: what is complete is made private, as if it had always been.
    return _is_ours(folder) and cache_dir.is_complete(folder, made_by())


def _is_ours(folder: Path) -> bool:
    """Whether nobody but this user can have written what lies in a folder, and it is
    what was compiled."""
    with suppress(OSError):  # somebody else's, or on a disk that is only read
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


def _require_own(place: Path) -> None:
    """See that a file or a folder is this user's, and no link.

    Raises:
        PermissionError: it is not.
    """
    about = place.lstat()
    plain = stat.S_ISDIR(about.st_mode) or stat.S_ISREG(about.st_mode)
    if not plain or about.st_uid != os.geteuid():
        raise PermissionError(None, "it belongs to somebody else", str(place))


def _digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of all that was compiled into a folder, by name."""
    files = (file for file in folder.iterdir() if file.suffix != ".json")
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def keep(scratch: Path, folder: Path, *, source: str) -> None:
    """Keep the folder in which something was compiled, and none of those that this
    version can't use.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    (scratch / _DIGESTS).write_text(json.dumps(_digests_of(scratch)))
    if not is_kept(folder):
        cache_dir.discard(folder)  # complete, but not to be trusted
    cache_dir.seal(scratch, folder, source=source, made_by=made_by())
    for other, _, _ in cache_dir.folders(root()):
        # A home can be shared with a machine that has another processor.
        if not _is_ours(other) or not cache_dir.is_complete(other, _of_this_version()):
            cache_dir.discard(other)


def note_failure(folder: Path, compiler: str, why: str) -> None:
    """Remember that a compiler failed, and in which words."""
    note = json.dumps({"compiler": compiler, "why": why})
    with suppress(OSError):
        paths.write_atomically(_note_of(folder), note.encode())


def failures(compiler: str) -> dict[Path, str]:
    """The notes about everything that a compiler failed with, and its words."""
    found = {}
    for file in root().glob(f"*{_FAILED}"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            note = json.loads(file.read_bytes())
            if note["compiler"] == compiler:
                found[file] = str(note["why"])
    return found


def failure(folder: Path, compiler: str) -> str | None:
    """What a compiler failed with before, instead of filling a folder."""
    return failures(compiler).get(_note_of(folder))


def _note_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _FAILED)


def compiled_for(head: int, share: int) -> Path:
    """The folder of the products and, where there can be one, attention for heads of a
    width, so many of which share their keys; compiled now, if they are not kept.

    Raises:
        NotCompiled: they can't be had.
    """
    folder = folder_of({"sources": _sources(), "head": head, "share": share})
    if is_kept(folder):
        return folder
    compiler = found()
    if compiler is None:
        raise NotCompiled(f"there is no C++ compiler {name()}")
    if (why := failure(folder, compiler)) is not None:
        raise NotCompiled(why)
    try:
        with paths.scratch_folder(paths.ensure_folder(root())) as scratch:
            build_products(scratch)
            if attends(head):
                build_attention(head, share, scratch)
            keep(scratch, folder, source=f"heads of {head}")
    except RuntimeError as error:
        words = str(error).partition("\n")[0]
        note_failure(folder, compiler, words)
        raise NotCompiled(words) from error
    except (OSError, LmtuiError) as error:
        if not is_kept(folder):  # by another process, in the meantime
            raise NotCompiled(f"it can't be kept: {error}") from error
    return folder


def _sources() -> str:
    """What changes with all that is compiled."""
    files = sorted([*_SOURCES.glob("*.cpp"), *_SOURCES.glob("*.h")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
