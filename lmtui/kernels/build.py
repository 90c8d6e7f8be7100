"""The library of kernels for this machine: the package's own, or one that is compiled
here and cached for later starts.

A wheel can have a library for each class of instructions. A cached one is used only if
the same sources on the same processor made it and only this user can have written it.
Compiler failures are noted and not repeated. Knows no weights.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lmtui import cache_dir, paths
from lmtui.errors import LmtuiError
from lmtui.kernels import compiler, cpu_features, digests, prebuilt
from lmtui.kernels.compiler import HEAD_DIMS, CompilerStopped, supports_attention
from lmtui.kernels.gguf_matmul import GgufMatmulKernel

LIBRARY = "kernels.so"
_FAILED = "-failed.json"


class NotCompiled(Exception):
    """Raised with the reason why the kernels can't be compiled or cached."""


def library_for(head_dims: Sequence[int]) -> Path:
    """Return the library for a model with heads of some widths; compile it first if the
    package and the cache lack it. Without attention if that can't be compiled for all.

    Raises:
        NotCompiled: it can't be compiled or cached.
    """
    own = prebuilt.library()
    if own is None:
        return _compiled_for(head_dims)
    if {*head_dims} <= {*HEAD_DIMS} or not all(map(supports_attention, head_dims)):
        return own
    with suppress(NotCompiled):
        return _compiled_for(head_dims)
    return own


def any_library() -> Path | None:
    """Return a library that is there, whatever its heads; None where none is."""
    if (own := prebuilt.library()) is not None:
        return own
    folders = (folder for folder, _, _ in cache_dir.folders(root()))
    return next((each / LIBRARY for each in folders if is_usable(each)), None)


def why_none() -> str | None:
    """Return why there can be no library on this machine; None where there can."""
    if prebuilt.library() is None and compiler.compiler_id() is None:
        return f"there is no C++ compiler {compiler.name()}"
    return None


def discard(library: Path, seen: tuple[int, int] | None) -> None:
    """Remove a damaged library from the cache; `seen` is the identity of its folder.
    One that the package has is left alone."""
    if library.parent != prebuilt.FOLDER:
        cache_dir.discard(library.parent, seen)


def root() -> Path:
    """Return the folder that holds one folder per compiled library."""
    return cache_dir.root("compiled")


def folder_of(head_dims: Sequence[int]) -> Path:
    """Return the folder for the library with attention for some widths of a head,
    compiled or not."""
    said = json.dumps([head_dims, made_by()], sort_keys=True)
    return root() / hashlib.sha256(said.encode()).hexdigest()[:24]


def made_by() -> dict[str, str]:
    """Return what a compiled library depends on: the sources and the processor, since
    the compiler may use all of its instructions."""
    return _of_these_sources() | {
        "cpu": cpu_features.instruction_class(),
        "instructions": cpu_features.instructions(),
    }


def _of_these_sources() -> dict[str, str]:
    return {"sources": compiler.sources_digest()}


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
        for path in (root(), folder, *folder.iterdir()):
            _require_own(path)
            if path.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return False
        return digests.are_right(folder)
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


def store(scratch: Path, folder: Path, *, source: str) -> None:
    """Move a folder of compiled files into the cache as `folder`, and remove those of
    other sources.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    digests.write(scratch)
    if not is_usable(folder):
        cache_dir.discard(folder)  # complete, but not trusted
    cache_dir.commit_dir(scratch, folder, source=source, made_by=made_by())
    for other, _, _ in cache_dir.folders(root()):
        # Folders of another processor stay: machines can share a home directory.
        if not _is_ours(other) or not cache_dir.is_complete(other, _of_these_sources()):
            cache_dir.discard(other)


def note_failure(folder: Path, by: str, why: str) -> None:
    """Write a note that the compiler `by` failed to fill `folder`, with its message."""
    note = json.dumps({"compiler": by, "why": why})
    with suppress(OSError):
        paths.write_atomically(_note_of(folder), note.encode())


def failures(by: str) -> dict[Path, str]:
    """Return the noted failures of the compiler `by`: its message, by the note's
    path."""
    why = {}
    for file in root().glob(f"*{_FAILED}"):
        with suppress(OSError, ValueError, TypeError, KeyError):
            note = json.loads(file.read_bytes())
            if note["compiler"] == by:
                why[file] = str(note["why"])
    return why


def _note_of(folder: Path) -> Path:
    return folder.with_name(folder.name + _FAILED)


def compile_checked(file: Path, head_dims: Sequence[int]) -> None:
    """Compile the library for this processor, with attention for some widths of a head,
    and check that it reads blocks as the `gguf` package does.

    Raises:
        RuntimeError: the compiler failed, in its words; or its result is wrong.
        CompilerStopped: it was stopped.
    """
    compiler.compile_library(file, head_dims, cpu_features.compiler_options())
    try:
        GgufMatmulKernel(file).require_exact()
    except (OSError, AttributeError, ValueError) as error:
        raise RuntimeError(str(error)) from error


def _compiled_for(head_dims: Sequence[int]) -> Path:
    """Return the cached library with attention for some widths, if that can be
    compiled; compile it first if there is none."""
    if not all(map(supports_attention, head_dims)):
        head_dims = HEAD_DIMS[:1]
    folder = folder_of(head_dims)
    if is_usable(folder):
        return folder / LIBRARY
    by = compiler.compiler_id()
    if by is None:
        raise NotCompiled(f"there is no C++ compiler {compiler.name()}")
    if (why := failures(by).get(_note_of(folder))) is not None:
        raise NotCompiled(why)
    try:
        with paths.scratch_folder(paths.ensure_folder(root())) as scratch:
            compile_checked(scratch / LIBRARY, head_dims)
            store(scratch, folder, source=f"heads of {', '.join(map(str, head_dims))}")
    except RuntimeError as error:
        words = str(error).partition("\n")[0]
        note_failure(folder, by, words)
        raise NotCompiled(words) from error
    except CompilerStopped as error:
        raise NotCompiled(str(error)) from error
    except (OSError, LmtuiError) as error:
        if not is_usable(folder):  # otherwise another process has made it meanwhile
            raise NotCompiled(f"it can't be kept: {error}") from error
    return folder / LIBRARY
