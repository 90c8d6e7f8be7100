"""Cache folders that are complete or absent.

Each holds a note with its source, its maker's versions and its files. The note is
written last, and a folder gets its name once everything is on disk. A damaged one is
renamed before it is removed, so that no process sees a part of it.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError

_NOTE = "lmtui.json"
_FORMAT = 1

_TITLE = "the disk is full"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def root(kind: str) -> Path:
    return paths.cache_folder() / kind


def packed() -> Path:
    """Return the folder for what is kept of models: tokenizers, rounded weights."""
    return root("packed")


def commit_dir(
    scratch: Path, folder: Path, *, source: str, made_by: Mapping[str, str]
) -> None:
    """Write the note, sync all files, and rename `scratch` to `folder`, unless another
    process has just made the same folder.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    files = {file.name: file.stat().st_size for file in scratch.iterdir()}
    note = {"format": _FORMAT, "source": source, **made_by, "files": files}
    (scratch / _NOTE).write_text(json.dumps(note, indent=1))
    paths.seal(scratch)
    with paths.locked_folder(folder.parent):
        if not is_complete(folder, made_by):
            _put_aside(folder)  # made by another version, or damaged
            os.rename(scratch, folder)


def identity(folder: Path) -> tuple[int, int] | None:
    """Return an id that differs for a folder that takes this one's place; None for no
    folder."""
    try:
        about = folder.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns


def discard(folder: Path, seen: tuple[int, int] | None = None) -> None:
    """Remove a folder, if possible. With `seen`, the identity of a damaged folder, one
    that has taken its place since stays."""
    with suppress(OSError), paths.locked_folder(folder.parent):
        if seen is None or identity(folder) == seen:
            _put_aside(folder)


def _put_aside(folder: Path) -> None:
    with paths.scratch_folder(folder.parent) as waste, suppress(FileNotFoundError):
        os.rename(folder, waste / folder.name)


def is_complete(folder: Path, made_by: Mapping[str, str]) -> bool:
    """Return whether all files of a folder are there in full, made under the same
    conditions."""
    note = _read(folder)
    if note is None or any(note.get(name) != made_by[name] for name in made_by):
        return False
    try:
        sizes = note["files"].items()
        whole = all((folder / name).stat().st_size == size for name, size in sizes)
    except OSError:
        return False
    if whole:
        paths.make_all_private(folder)  # an older version did not make it private
    return whole


def folders(root: Path) -> Iterator[tuple[Path, str, int]]:
    """Yield every sealed folder: its path, its source, and its size in bytes."""
    for folder in sorted(root.glob("[!.]*")):  # scratch folders begin with a dot
        note = _read(folder)
        if note is not None:
            size = sum(note["files"].values())
            yield folder, str(note.get("source", folder.name)), size


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        note = json.loads((folder / _NOTE).read_bytes())
    except (OSError, ValueError):
        return None
    right = isinstance(note, dict) and note.get("format") == _FORMAT
    return note if right and isinstance(note.get("files"), dict) else None


def free_bytes(folder: Path) -> int | None:
    """Return the free bytes of the disk of `folder`, which need not exist yet."""
    for existing in (folder, *folder.parents):
        try:
            return shutil.disk_usage(existing).free
        except OSError:
            continue
    return None


def require_space(folder: Path, need: int) -> None:
    """Check that `need` bytes fit into `folder`."""
    free = free_bytes(folder)
    if free is not None and free < need:
        raise disk_full(folder, need=need, free=free)


def is_disk_full(error: BaseException) -> bool:
    """Return whether `error`, or one of its causes, is about a full disk or quota."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if isinstance(seen, LmtuiError) and seen.title == _TITLE:
            return True
        seen = seen.__cause__ or seen.__context__
    # Libraries in other languages only pass the message on.
    return says_disk_full(str(error))


def unwritten(folder: Path, error: Exception, need: int | None = None) -> LmtuiError:
    """Return the error for a file in `folder` that could not be written."""
    if is_disk_full(error):
        return disk_full(folder, need=need, free=free_bytes(folder))
    return paths.unwritable(folder, error if isinstance(error, OSError) else None)


def says_disk_full(words: str) -> bool:
    """Return whether a program's message is about a full disk or quota."""
    return any(os.strerror(code) in words for code in _FULL)


def disk_full(
    folder: Path, *, need: int | None = None, free: int | None = None
) -> LmtuiError:
    """Return the error for a full disk; `need` and `free` in bytes, where they are
    known."""
    facts = [str(folder)]
    if need is not None:
        facts.append(f"{size(need)} are needed")
    if free is not None:
        facts.append(f"{size(free)} are free")
    return LmtuiError(
        _TITLE,
        ", ".join(facts),
        "Free some space, or set LMTUI_HOME to a folder on another disk.",
    )


def size(count: int) -> str:
    """Format a number of bytes, in powers of 1000: `98.4 MB`."""
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            break
    return f"{value:.1f} {unit}"
