"""Folders in the cache that are complete or absent.

Owns the note in each that says what it was made from, by what, and which files it has;
it is written last, and the folder gets its name when everything in it is on the disk.
A complete one stays, since other processes may be reading it; one that is not is
renamed before it is removed, so that nobody ever sees a part of one. Knows nothing of
what the files are.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lmtui import paths

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
