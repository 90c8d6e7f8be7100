"""Text files: loading, saving, encoding, line endings, changes on disk.

Saving an unedited text writes the very bytes that were read: the encoding, a byte-order
mark, the line ending and a missing final newline are kept. A file has one line ending;
in a text that mixes them `\\n` ends lines, and `\\r` is a character. Knows no screen.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lmtui import files, paths
from lmtui.errors import LmtuiError
from lmtui.notation import counted

_ANY = re.compile(r"\r\n|\r|\n")
_NAMES = {"\n": "LF", "\r\n": "CRLF", "\r": "CR"}

MOST_BYTES = 20_000_000
Encoding = Literal["utf-8", "utf-16-le", "utf-16-be", "latin-1"]

ENCODING_NAMES: dict[Encoding, str] = {
    "utf-8": "UTF-8", "utf-16-le": "UTF-16 LE", "utf-16-be": "UTF-16 BE",
    "latin-1": "Latin-1",
}  # fmt: skip
_BOM = "\ufeff"
_UTF16: dict[bytes, Encoding] = {
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_CONTROLS = bytes(c for c in (*range(32), 127) if chr(c) not in "\t\n\v\f\r\b\a\x1b")
_MOST_CONTROLS = 0.05
"""Share of the bytes of a text in Latin-1 that may be control characters, others than
those of layout."""
_MOSTLY = 10
"""Characters in UTF-8 for each broken byte, with which a text is damaged UTF-8."""
_UNSETTLED = 2_000_000_000  # ns within which two changes may get the same file time
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Stamp:
    """The state of a file on disk, by which a change of its content is noticed."""

    identity: tuple[int, ...]
    """Device, inode, size and times: while these are the same, so is the content."""
    settled: bool
    """Whether the last change is old enough for a later one to get another file
    time."""
    modified: float
    """Modification time in seconds since the epoch."""
    size: int
    digest: str
    """SHA-256 of the content."""


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file and its text, as loaded or saved last."""

    path: Path
    """Absolute path as it was named; links are not resolved."""
    text: str
    """The text, with `\\n` for the line ending and without a byte-order mark."""
    bom: bool = False
    ending: str = "\n"
    stamp: Stamp | None = None
    """The file's state on disk; None for a new file that was not saved yet."""
    read_only: bool = False
    """Whether it can't be written; it can be opened, and saved under another name."""
    encoding: Encoding = "utf-8"
    is_named: bool = True
    """Whether it has a name; a text that was piped in gets one when it is saved."""

    @property
    def name(self) -> str:
        """The name of the file, or what stands for it."""
        return self.path.name if self.is_named else "text from stdin"

    @property
    def endings(self) -> str:
        """A name for a status line: LF, CRLF, CR or mixed."""
        return "mixed" if "\r" in self.text else _NAMES[self.ending]

    @property
    def saved_text(self) -> str:
        """The part of `text` that the disk has: none of a text that was piped in."""
        return self.text if self.is_named else ""

    @property
    def is_new(self) -> bool:
        return self.stamp is None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the content; None for a new file."""
        return self.stamp.digest if self.stamp else None


def load(path: str | os.PathLike[str]) -> TextFile:
    """Load the text file at `path`; an empty new one where there is none.

    Raises:
        LmtuiError: the file is not a text of at most 20 MB, can't be read, or its
            folder does not exist.
    """
    path = Path(path).absolute()
    try:
        info = path.stat()
    except FileNotFoundError:
        return _new(path)
    except (OSError, ValueError) as error:
        raise files.unreadable(str(path), error) from error
    require_regular(path, info)
    require_size(path, info.st_size)
    data = files.read_bytes(str(path), lambda: path.open("rb"), nul=True)
    require_size(path, len(data))  # stat may report less, as for a growing file
    encoding = encoding_of(str(path), data)
    text, bom, ending = from_bytes(data, encoding)
    return TextFile(
        path,
        text,
        bom,
        ending,
        stamp_of(info, data),
        _is_read_only(path, info),
        encoding,
    )


def piped(data: bytes) -> TextFile:
    """Return the text that was piped in, as UTF-8; its file has no name yet.

    Raises:
        LmtuiError: the data is not UTF-8 text of at most 20 MB.
    """
    require_size(Path("stdin"), len(data))
    files.decode("stdin", data)
    text, bom, ending = from_bytes(data, "utf-8")
    return TextFile(Path("-").absolute(), text, bom, ending, is_named=False)


def to_bytes(file: TextFile, text: str) -> bytes:
    """Return the bytes of `text` as the content of `file`.

    Raises:
        LmtuiError: a character can't be encoded.
    """
    raw = text.replace("\n", file.ending)
    try:
        return ((_BOM if file.bom else "") + raw).encode(file.encoding)
    except UnicodeEncodeError as error:
        raise _not_encoded(file, raw, error.start - file.bom) from None


def _not_encoded(file: TextFile, raw: str, offset: int) -> LmtuiError:
    title = "a character of the text can't be saved"
    character, line = raw[offset], raw.count(file.ending, 0, offset) + 1
    code = f"U+{ord(character):04X}"
    if "\ud800" <= character <= "\udfff":
        detail = f"{code}, half of a UTF-16 pair, in {file.path}, line {line:,}"
        return LmtuiError(title, detail, "Delete it.")
    name = ENCODING_NAMES[file.encoding]
    missing = f"“{character}”, {code}, which {name} does not have"
    detail = f"{missing}, in {file.path}, line {line:,}"
    hint = "Delete it, or save the text under another name: as UTF-8."
    return LmtuiError(title, detail, hint)


def encoding_of(name: str, data: bytes) -> Encoding:
    """Return the encoding of a text: UTF-8, UTF-16 with a byte-order mark, or Latin-1.

    Raises:
        LmtuiError: it is binary, or damaged UTF-8; the error names the position.
    """
    utf16 = _UTF16.get(data[:2])
    if utf16 and _can_be(utf16, data) and "\0" not in data.decode(utf16):
        return utf16
    if b"\0" in data:
        raise files.binary(name, f"NUL at byte {data.index(0)}")
    if _can_be("utf-8", data):
        return "utf-8"
    controls = len(data) - len(data.translate(None, _CONTROLS))
    if controls > _MOST_CONTROLS * len(data):
        raise files.binary(name, counted(controls, "control character"))
    valid = data.decode("utf-8", "ignore")
    broken = len(data) - len(valid.encode())
    characters = len(valid) - len(valid.encode("ascii", "ignore"))
    if data.startswith(codecs.BOM_UTF8) or characters > _MOSTLY * broken:
        files.decode(name, data)  # raises
    return "latin-1"


def _can_be(encoding: Encoding, data: bytes) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def from_bytes(data: bytes, encoding: Encoding) -> tuple[str, bool, str]:
    """Return the text in `data`, whether it has a byte-order mark, and its line
    ending."""
    raw = data.decode(encoding)
    text, ending = split_ending(raw.removeprefix(_BOM))
    return text, raw.startswith(_BOM), ending


def split_ending(raw: str) -> tuple[str, str]:
    """Return `raw` with `\\n` for its line ending, and that ending. A text that mixes
    endings stays as it is, with `\\n` as the ending."""
    if "\r" not in raw:
        return raw, "\n"
    found = set(_ANY.findall(raw))
    ending = found.pop() if len(found) == 1 else "\n"
    return raw.replace(ending, "\n"), ending


def require_regular(path: Path, info: os.stat_result) -> None:
    """Refuse folders, devices, pipes and sockets."""
    if stat.S_ISDIR(info.st_mode):
        hint = "Name a file in it."
        raise LmtuiError("this is a folder, not a text", str(path), hint)
    if not stat.S_ISREG(info.st_mode):
        hint = "Name a regular file."
        title = "this is a pipe, a socket or a device, not a text file"
        raise LmtuiError(title, str(path), hint)


def require_size(path: Path, size: int) -> None:
    """Refuse a file that is too large to edit.

    Raises:
        LmtuiError: the file is larger than 20 MB.
    """
    if size > MOST_BYTES:
        raise LmtuiError(
            "the file is too large to edit",
            f"{path}, {size / 1e6:.1f} MB; at most {MOST_BYTES / 1e6:.0f} MB are",
            "Split it, and edit a part of it.",
        )


def identity_of(info: os.stat_result) -> tuple[int, ...]:
    """Return the parts of a file's status that change with its content."""
    return (
        info.st_dev,
        info.st_ino,
        info.st_size,
        info.st_mtime_ns,
        info.st_ctime_ns,
    )


def stamp_of(info: os.stat_result, data: bytes) -> Stamp:
    """Return the stamp of a file with this content; `info` was read before the
    content."""
    settled = time.time_ns() - max(info.st_mtime_ns, info.st_ctime_ns) > _UNSETTLED
    digest = hashlib.sha256(data).hexdigest()
    return Stamp(identity_of(info), settled, info.st_mtime, len(data), digest)


def _new(path: Path) -> TextFile:
    folder = path.resolve().parent  # for a dangling link, the folder of its target
    if not folder.is_dir():
        hint = "Create the folder first, or check the path."
        raise LmtuiError("there is no such folder", str(folder), hint)
    return TextFile(path, "", read_only=not os.access(folder, os.W_OK | os.X_OK))


def _is_read_only(path: Path, info: os.stat_result) -> bool:
    """Return whether the file or its folder, which saving writes to, is read-only. Its
    mode counts for the superuser, too."""
    folder = path.resolve().parent
    writable = os.access(path, os.W_OK) and os.access(folder, os.W_OK | os.X_OK)
    return not (writable and info.st_mode & _WRITABLE)


@dataclass(frozen=True, slots=True)
class SaveResult:
    file: TextFile
    note: str = ""
    """Loss of a property of the file, in a clause; usually empty."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A change of a file since it was loaded or saved."""

    kind: Literal["changed", "gone", "appeared", "replaced"]
    """The content changed; the file is gone; a new file's path is taken now; something
    else than a file is at the path."""
    before: float | None
    """Modification time of the loaded content in seconds since the epoch; None for a
    new file."""
    now: float | None
    """Modification time of the present content; None where there is none."""

    @property
    def words(self) -> str:
        return "deleted" if self.kind == "gone" else "changed on disk"


def save(
    file: TextFile,
    text: str,
    path: str | os.PathLike[str] | None = None,
    *,
    keep: Callable[[], object] = lambda: None,
) -> SaveResult:
    """Write `text` as the content of `file`, or under another path.

    A temporary file beside it is synced and then renamed to it, with its permissions
    and, as far as the system allows, its owner. Links are followed. A file with other
    hard links is written in place, so that they have the text too; `keep` is called
    before, to keep the text in another file until then. Under another path, a text that
    the encoding can't hold is written as UTF-8. The caller checks `changed_on_disk`
    before.

    Raises:
        LmtuiError: the file can't be written; unless it has other hard links, it is as
            it was.
    """
    path = file.path if path is None else Path(path).absolute()
    if path != file.path and file.encoding == "latin-1" and max(text, default="") > "ÿ":
        file = replace(file, encoding="utf-8")
    data = to_bytes(file, text)
    in_place = False
    try:
        target = Path(os.path.realpath(path))
        before = target.stat() if target.exists() else None
        if before:
            require_regular(path, before)
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, "it is read-only")
        if before and before.st_nlink > 1:
            keep()
            in_place = True
            _write_in_place(target, data)
        else:
            like = target if before else None
            paths.write_atomically(target, data, like=like, private=False)
        after = target.stat()
    except (OSError, ValueError) as error:
        raise _not_saved(path, error, in_place=in_place) from error
    saved = replace(
        file,
        path=path,
        text=text,
        stamp=stamp_of(after, data),
        read_only=False,
        is_named=True,
    )
    owner = (after.st_uid, after.st_gid)
    is_kept = before is None or (before.st_uid, before.st_gid) == owner
    note = "" if is_kept else "the file's owner could not be kept, it is yours now"
    return SaveResult(saved, note)


def _write_in_place(target: Path, data: bytes) -> None:
    with target.open("r+b") as file:
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def changed_on_disk(file: TextFile) -> FileChange | None:
    """Return how the file changed since it was loaded or saved; None if it did not.

    The content is read only where the status leaves doubt; the same content written
    again is no change.
    """
    if not file.is_named:
        return None
    stamp = file.stamp
    before = stamp.modified if stamp else None
    try:
        info = file.path.stat()
    except OSError:
        return FileChange("gone", before, None) if stamp else None
    if not stat.S_ISREG(info.st_mode):
        return FileChange("replaced", before, info.st_mtime)
    if stamp is None:
        return FileChange("appeared", before, info.st_mtime)
    if _is_the_same(file.path, info, stamp):
        return None
    return FileChange("changed", before, info.st_mtime)


def _is_the_same(path: Path, info: os.stat_result, stamp: Stamp) -> bool:
    if info.st_size != stamp.size:
        return False
    if stamp.settled and identity_of(info) == stamp.identity:
        return True
    try:
        return stamp_of(info, path.read_bytes()).digest == stamp.digest
    except OSError:
        return False


def _not_saved(
    path: Path, error: OSError | ValueError, *, in_place: bool
) -> LmtuiError:
    reason = getattr(error, "strerror", None) or error
    code = getattr(error, "errno", None)
    if in_place:
        hint = "Now it may have a part of your text; all of it is in a recovery copy."
    elif code in _FULL:
        hint = "Free some space, or save it in another place."
    elif code in _NOT_THERE:
        hint = "Create the folder, or save it in another place."
    else:
        hint = "Save it under another name, or make the file and its folder writable."
    return LmtuiError("the file was not saved", f"{path} ({reason})", hint)
