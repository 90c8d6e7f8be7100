"""A text file as it was loaded: its text, and all that is not text but must stay.

Owns what can be edited (the refusals) and the bytes that a text becomes. Saving a
text that was not edited gives the very bytes that were read: a byte-order mark, line
endings and a missing final newline stay. Knows no screen and writes nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

from lmtui import reading
from lmtui.edit import endings
from lmtui.edit.endings import Endings
from lmtui.errors import LmtuiError

MOST_BYTES = 20_000_000
"""The largest file that is edited."""

_BOM = b"\xef\xbb\xbf"
_UNSETTLED = 2_000_000_000  # ns in which a file system may give two changes one time


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one content of a file from another."""

    identity: tuple[int, ...]
    """Device, inode, size and times: while these are the same, so is the content."""
    settled: bool
    """Whether the last change was old enough for the times to tell a later one."""
    modified: float
    """When the content was written, in seconds since the epoch."""
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the bytes."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file and its text, as of when it was loaded or saved."""

    path: Path
    """As it was named, made absolute; a link is not followed here."""
    text: str
    """Its text, with `\\n` for every line ending and without a byte-order mark."""
    bom: bool = False
    """Whether it begins with a byte-order mark."""
    endings: Endings = field(default_factory=Endings)
    """How its lines end."""
    stamp: Stamp | None = None
    """Its state on disk; None while it is a new file that was not saved."""
    read_only: bool = False
    """Whether it can't be written to: it opens, and is saved under another name."""

    @property
    def is_new(self) -> bool:
        """Whether it is not on disk yet."""
        return self.stamp is None

    @property
    def digest(self) -> str | None:
        """SHA-256 of its bytes; None for a new file."""
        return self.stamp.digest if self.stamp else None


def load(path: str | os.PathLike[str]) -> TextFile:
    """The text file at `path`; an empty new one where there is none.

    Raises:
        LmtuiError: it is no UTF-8 text file of at most 20 MB, can't be read, or is in
            a folder that does not exist.
    """
    path = Path(path).absolute()
    try:
        info = path.stat()
    except FileNotFoundError:
        return _new(path)
    except (OSError, ValueError) as error:
        raise reading.unreadable(str(path), error) from error
    require_regular(path, info)
    require_size(path, info.st_size)
    data = reading.read_bytes(str(path), lambda: path.open("rb"))
    require_size(path, len(data))  # of some files, and of growing ones, stat knows less
    text, bom, its_endings = from_bytes(str(path), data)
    return TextFile(
        path, text, bom, its_endings, stamp_of(info, data), _is_read_only(path)
    )


def to_bytes(file: TextFile, text: str) -> bytes:
    """What `text` is on disk as the content of `file`.

    Raises:
        LmtuiError: a character of it can't be written.
    """
    raw = endings.put_back(text, file.text, file.endings)
    try:
        return (_BOM if file.bom else b"") + raw.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LmtuiError(
            "a character of the text can't be saved",
            f"U+{ord(raw[error.start]):04X}, half of a UTF-16 pair, in {file.path}",
            "Delete it.",
        ) from None


def from_bytes(name: str, data: bytes) -> tuple[str, bool, Endings]:
    """The text that `data` holds, whether it has a byte-order mark, its endings.

    Raises:
        LmtuiError: it is not UTF-8; the position is that in the file.
    """
    bom = data.startswith(_BOM)
    raw = reading.decode(name, data)
    text, its_endings = endings.taken_off(raw[1:] if bom else raw)
    return text, bom, its_endings


def require_regular(path: Path, info: os.stat_result) -> None:
    """Refuse folders, devices, pipes and sockets.

    Raises:
        LmtuiError: it is no regular file.
    """
    if stat.S_ISDIR(info.st_mode):
        hint = "Name a file in it."
        raise LmtuiError("this is a folder, not a text", str(path), hint)
    if not stat.S_ISREG(info.st_mode):
        hint = "Name a regular file."
        title = "this is a pipe, a socket or a device, not a text file"
        raise LmtuiError(title, str(path), hint)


def require_size(path: Path, size: int) -> None:
    """Refuse what is too large to edit.

    Raises:
        LmtuiError: it is larger than 20 MB.
    """
    if size > MOST_BYTES:
        raise LmtuiError(
            "the file is too large to edit",
            f"{path}, {size / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB are",
            "Split it, and edit a part of it.",
        )


def identity_of(info: os.stat_result) -> tuple[int, ...]:
    """What of a file's state changes with its content."""
    return (
        info.st_dev,
        info.st_ino,
        info.st_size,
        info.st_mtime_ns,
        info.st_ctime_ns,
    )


def stamp_of(info: os.stat_result, data: bytes) -> Stamp:
    """The stamp of a file with these bytes, whose state was taken before reading."""
    settled = time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) > _UNSETTLED
    digest = hashlib.sha256(data).hexdigest()
    return Stamp(identity_of(info), settled, info.st_mtime, len(data), digest)


def _new(path: Path) -> TextFile:
    folder = path.resolve().parent  # of a link to nothing, the folder it points into
    if not folder.is_dir():
        hint = "Create the folder first, or check the path."
        raise LmtuiError("there is no such folder", str(folder), hint)
    return TextFile(path, "", read_only=not os.access(folder, os.W_OK | os.X_OK))


def _is_read_only(path: Path) -> bool:
    """Whether the file, or the folder that a saved file is put into, is."""
    folder = path.resolve().parent
    writable = os.access(path, os.W_OK) and os.access(folder, os.W_OK | os.X_OK)
    return not writable
