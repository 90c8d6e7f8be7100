"""Saving an edited text: the file has the old content or the new, never a part.

Owns the writing and what to do when it fails; a failure leaves the file as it was.
Owns too how a change that somebody else made to the file is noticed.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lmtui import paths
from lmtui.edit.text_file import (
    Stamp,
    TextFile,
    from_bytes,
    identity_of,
    require_regular,
    stamp_of,
    to_bytes,
)
from lmtui.errors import LmtuiError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Saved:
    """What a save led to."""

    file: TextFile
    """The file as it is now."""
    notes: tuple[str, ...] = ()
    """What could not be kept, a clause each; mostly nothing."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a file since it was loaded or saved."""

    kind: Literal["changed", "gone", "appeared", "replaced"]
    """Its content changed; it is no longer there; it was new, and now there is one;
    something that is no file stands in its place."""
    before: float | None
    """When the content that was loaded was written, in seconds since the epoch; None
    for a new file."""
    now: float | None
    """When the content that is there was written; None where there is none."""


def save(
    file: TextFile, text: str, path: str | os.PathLike[str] | None = None
) -> Saved:
    """Write `text` as the content of `file`, or under another path.

    A temporary file beside it is synced and takes its place, with its permissions
    and, as far as the system allows, its owner. Links are followed. Other hard links
    to the file keep the old text, and a note says so. Whether somebody else changed
    the file is for the caller to ask before (`changed_on_disk`).

    Raises:
        LmtuiError: it can't be written; the file is as it was.
    """
    path = file.path if path is None else Path(path).absolute()
    data = to_bytes(file, text)
    try:
        target = Path(os.path.realpath(path))
        before = _state(target)
        if before:
            require_regular(path, before)
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, "it is read-only")
        like = target if before else None
        paths.write_atomically(target, data, like=like, private=False)
        after = target.stat()
    except (OSError, ValueError) as error:
        raise _not_saved(path, error) from error
    text, _, endings = from_bytes(str(path), data)
    # A text without line breaks still remembers those that its file had.
    endings = endings if "\n" in text else replace(file.endings, own=())
    saved = replace(
        file,
        path=path,
        text=text,
        endings=endings,
        stamp=stamp_of(after, data),
        read_only=False,
    )
    return Saved(saved, _notes(before, after))


def changed_on_disk(file: TextFile) -> Change | None:
    """What somebody else did to the file since it was loaded or saved, if anything.

    Reads the content only where the file's state leaves room for doubt; the same
    content written anew is no change.
    """
    stamp = file.stamp
    before = stamp.modified if stamp else None
    try:
        info = file.path.stat()
    except OSError:
        return Change("gone", before, None) if stamp else None
    if not stat.S_ISREG(info.st_mode):
        return Change("replaced", before, info.st_mtime)
    if stamp is None:
        return Change("appeared", before, info.st_mtime)
    if _is_the_same(file.path, info, stamp):
        return None
    return Change("changed", before, info.st_mtime)


def _is_the_same(path: Path, info: os.stat_result, stamp: Stamp) -> bool:
    if info.st_size != stamp.size:
        return False
    if stamp.settled and identity_of(info) == stamp.identity:
        return True
    try:
        return stamp_of(info, path.read_bytes()).digest == stamp.digest
    except OSError:
        return False


def _state(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _notes(before: os.stat_result | None, after: os.stat_result) -> tuple[str, ...]:
    """What the new file did not take over from the old one."""
    if before is None:
        return ()
    notes = []
    if before.st_nlink > 1:
        notes.append("other hard links to the file keep the old text")
    if (before.st_uid, before.st_gid) != (after.st_uid, after.st_gid):
        notes.append("the file's owner could not be kept, it is yours now")
    return tuple(notes)


def _not_saved(path: Path, error: OSError | ValueError) -> LmtuiError:
    reason = getattr(error, "strerror", None) or error
    code = getattr(error, "errno", None)
    if code in _FULL:
        hint = "Free some space, or save it in another place."
    elif code in _NOT_THERE:
        hint = "Create the folder, or save it in another place."
    else:
        hint = "Save it under another name, or make the file and its folder writable."
    return LmtuiError("the file was not saved", f"{path} ({reason})", hint)
