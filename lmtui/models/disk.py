"""Room on the disk: asked for before writing, and recognised when it runs out.

Knows nothing of what is written.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from lmtui.errors import LmtuiError

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
