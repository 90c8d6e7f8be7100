"""Folders in the cache that are complete or absent.

Owns the note in each that says what it was made from, by what, and which files it has;
it is written last, and the folder gets its name when everything in it is on the disk.
A complete one stays, since other processes may be reading it; one that is not is
renamed before it is removed, so that nobody ever sees a part of one. Knows nothing of
what the files are.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError

KINDS = ("gguf", "packed")
"""GGUF files as ordinary models, and models with few bits."""

_NOTE = "lmtui.json"
_FORMAT = 1


def root(kind: str) -> Path:
    """Where the folders of a kind are."""
    return paths.cache_folder() / kind


def seal(
    scratch: Path, folder: Path, *, source: str, made_by: Mapping[str, str]
) -> None:
    """Write down what is complete, make it durable, and give it its name, unless
    another process has just made the same.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    files = {file.name: file.stat().st_size for file in scratch.iterdir()}
    note = {"format": _FORMAT, "source": source, **made_by, "files": files}
    (scratch / _NOTE).write_text(json.dumps(note, indent=1))
    scratch.chmod(0o700)
    for file in scratch.iterdir():
        file.chmod(0o600)
        with file.open("rb") as written:
            os.fsync(written.fileno())
    with _alone_in(folder.parent):
        if not is_complete(folder, made_by):
            _put_aside(folder)  # of another version, or damaged
            os.rename(scratch, folder)


def identity(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from one that takes its place; None where there is none."""
    try:
        about = folder.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns


def discard(folder: Path, seen: tuple[int, int] | None = None) -> None:
    """Take a folder away, if it can be; with the identity of one that was found damaged
    only that one, not another that has taken its place since."""
    with suppress(OSError), _alone_in(folder.parent):
        if seen is None or identity(folder) == seen:
            _put_aside(folder)


def _put_aside(folder: Path) -> None:
    with paths.scratch_folder(folder.parent) as waste, suppress(FileNotFoundError):
        os.rename(folder, waste / folder.name)


@contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Let one process at a time give names to folders, and take them away."""
    handle = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def is_complete(folder: Path, made_by: Mapping[str, str]) -> bool:
    """Whether every file that was written is there in full, made by the same."""
    note = _read(folder)
    if note is None or any(note.get(name) != made_by[name] for name in made_by):
        return False
    try:
        sizes = note["files"].items()
        whole = all((folder / name).stat().st_size == size for name, size in sizes)
    except OSError:
        return False
    if whole:
        paths.make_all_private(folder)  # of an older version
    return whole


def folders(root: Path) -> Iterator[tuple[Path, str, int]]:
    """Every sealed folder: its path, what it was made from, and its bytes."""
    for folder in sorted(root.glob("[!.]*")):  # no scratch folders
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


_TITLE = "the disk is full"
_FULL = (errno.ENOSPC, errno.EDQUOT)


def free_bytes(folder: Path) -> int | None:
    """Bytes that can still be written under `folder`, which need not exist yet."""
    for existing in (folder, *folder.parents):
        try:
            return shutil.disk_usage(existing).free
        except OSError:
            continue
    return None


def require_space(folder: Path, need: int) -> None:
    """Make sure that `need` bytes fit into `folder`.

    Raises:
        LmtuiError: they don't.
    """
    free = free_bytes(folder)
    if free is not None and free < need:
        raise disk_full(folder, need=need, free=free)


def is_disk_full(error: BaseException) -> bool:
    """Whether `error`, or what caused it, says that a disk or a quota is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if isinstance(seen, LmtuiError) and seen.title == _TITLE:
            return True
        seen = seen.__cause__ or seen.__context__
    # Libraries written in other languages only hand on the words.
    return says_disk_full(str(error))


def says_disk_full(words: str) -> bool:
    """Whether some program's words mean that a disk or a quota is full."""
    return any(os.strerror(code) in words for code in _FULL)


def disk_full(
    folder: Path, *, need: int | None = None, free: int | None = None
) -> LmtuiError:
    """The error for a full disk; `need` and `free` in bytes where they are known."""
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
    """A number of bytes as people read it, in powers of 1000: `98.4 MB`."""
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            break
    return f"{value:.1f} {unit}"
