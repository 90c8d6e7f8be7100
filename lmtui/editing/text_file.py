"""Text files: loading, saving, encoding, line endings, changes on disk.

Saving an unedited text writes the very bytes that were read: the encoding, a byte-order
mark, line endings and a missing final newline are kept. Knows no screen.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import stat
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lmtui import files, paths
from lmtui.errors import LmtuiError

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
_MOST_CONTROLS = 8
"""Control characters that a text in Latin-1 may have at least, and beyond that a
twentieth of its bytes: others than those of layout."""
_MOSTLY = 10
"""Characters in UTF-8 for each broken byte, with which a text is damaged UTF-8."""
_UNSETTLED = 2_000_000_000  # ns within which two changes may get the same file time
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Endings:
    main: str = "\n"
    """The ending of most lines; the first in the file where two are equally
    frequent."""
    own: tuple[str, ...] = ()
    """The ending of every line, in order; empty where all lines have `main`."""

    @property
    def name(self) -> str:
        """A name for a status line: LF, CRLF, CR or mixed."""
        return "mixed" if self.own else _NAMES[self.main]

    def of(self, line: int | None) -> str:
        """Return the ending of a line of the file; `main` for a line without a
        counterpart."""
        if line is None or line >= len(self.own):
            return self.main
        return self.own[line]


def taken_off(raw: str) -> tuple[str, Endings]:
    """Return `raw` with `\\n` for every line ending, and its endings."""
    if "\r" not in raw:
        return raw, Endings()
    endings = _ANY.findall(raw)
    counts = Counter(
        endings
    )  # in order of appearance; `max` returns the first of equals
    main = max(counts, key=lambda ending: counts[ending])
    own = tuple(endings) if len(counts) > 1 else ()
    return _ANY.sub("\n", raw), Endings(main, own)


def put_back(text: str, before: str, endings: Endings) -> str:
    """Return `text` with the line endings of its file, which held `before` when read.

    A `\\r` in `text` is a line break like `\\n`: the file could not tell them apart.
    """
    text = _ANY.sub("\n", text) if "\r" in text else text
    if not endings.own:
        return text if endings.main == "\n" else text.replace("\n", endings.main)
    lines = text.split("\n")
    partners = partners_of(lines, before.split("\n"))
    parts: list[str] = []
    last = ""
    for line, partner in zip(lines[:-1], partners[:-1], strict=True):
        ending = endings.of(partner)
        if not line and last == "\r" and ending == "\n":
            ending = "\r"
        parts += (line, ending)
        last = ending
    return "".join((*parts, lines[-1]))


def partners_of(new: Sequence[str], old: Sequence[str]) -> list[int | None]:
    """Return for every line of `new` its line in `old`, or None for an added line.

    Partners increase, so that no line has two and the order is kept. Equal lines at
    both ends are paired, then the patience diff's anchors, then the lines between them.
    """
    partners: list[int | None] = [None] * len(new)
    whole = range(len(old)), range(len(new))
    inner_old, inner_new = _pair_ends(old, new, *whole, partners)
    low_old, low_new = inner_old.start, inner_new.start
    end = inner_old.stop, inner_new.stop
    for at_old, at_new in (*_anchors(old, new, inner_old, inner_new), end):
        stretch = range(low_old, at_old), range(low_new, at_new)
        for edited_old, edited_new in zip(
            *_pair_ends(old, new, *stretch, partners), strict=False
        ):
            partners[edited_new] = edited_old
        if (at_old, at_new) != end:
            partners[at_new] = at_old
        low_old, low_new = at_old + 1, at_new + 1
    return partners


def _pair_ends(
    old: Sequence[str],
    new: Sequence[str],
    in_old: range,
    in_new: range,
    partners: list[int | None],
) -> tuple[range, range]:
    """Pair equal lines at both ends of two ranges; return the ranges between them."""
    count = min(len(in_old), len(in_new))
    first = 0
    while first < count and old[in_old[first]] == new[in_new[first]]:
        partners[in_new[first]] = in_old[first]
        first += 1
    last = 0
    while last < count - first and old[in_old[-1 - last]] == new[in_new[-1 - last]]:
        partners[in_new[-1 - last]] = in_old[-1 - last]
        last += 1
    return in_old[first : len(in_old) - last], in_new[first : len(in_new) - last]


def _anchors(
    old: Sequence[str], new: Sequence[str], in_old: range, in_new: range
) -> Iterator[tuple[int, int]]:
    """Return pairs of lines that are unique in both ranges.

    They are the longest increasing sequence of such pairs, as in the patience diff.
    """
    once_old = _once(old, in_old)
    once_new = _once(new, in_new)
    pairs = [(once_old[line], at) for line, at in once_new.items() if line in once_old]
    # `ends[n]` is the smallest last element of an increasing sequence of n + 1 pairs.
    ends: list[int] = []
    last: list[int] = []  # the pair that this end belongs to
    before: list[int | None] = []  # for every pair, its predecessor in the sequence
    for number, (at_old, _) in enumerate(pairs):
        index = bisect_left(ends, at_old)
        before.append(last[index - 1] if index else None)
        ends[index : index + 1] = [at_old]
        last[index : index + 1] = [number]
    row: list[tuple[int, int]] = []
    step = last[-1] if last else None
    while step is not None:
        row.append(pairs[step])
        step = before[step]
    return reversed(row)


def _once(lines: Sequence[str], within: range) -> dict[str, int]:
    counts = Counter(lines[at] for at in within)
    return {lines[at]: at for at in within if counts[lines[at]] == 1}


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
    """The text, with `\\n` for every line ending and without a byte-order mark."""
    bom: bool = False
    endings: Endings = field(default_factory=Endings)
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
    text, bom, its_endings = from_bytes(data, encoding)
    return TextFile(
        path,
        text,
        bom,
        its_endings,
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
    text, bom, its_endings = from_bytes(data, "utf-8")
    return TextFile(Path("-").absolute(), text, bom, its_endings, is_named=False)


def to_bytes(file: TextFile, text: str) -> bytes:
    """Return the bytes of `text` as the content of `file`.

    Raises:
        LmtuiError: a character can't be encoded.
    """
    raw = put_back(text, file.text, file.endings)
    try:
        return ((_BOM if file.bom else "") + raw).encode(file.encoding)
    except UnicodeEncodeError as error:
        raise _not_encoded(file, raw, error.start - file.bom) from None


def _not_encoded(file: TextFile, raw: str, offset: int) -> LmtuiError:
    title = "a character of the text can't be saved"
    character, line = raw[offset], len(_ANY.findall(raw, 0, offset)) + 1
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
    if controls > max(_MOST_CONTROLS, len(data) // 20):
        raise files.binary(name, f"{controls:,} control characters")
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


def from_bytes(data: bytes, encoding: Encoding) -> tuple[str, bool, Endings]:
    """Return the text in `data`, whether it has a byte-order mark, and its endings."""
    raw = data.decode(encoding)
    bom = raw.startswith(_BOM)
    text, its_endings = taken_off(raw.removeprefix(_BOM))
    return text, bom, its_endings


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
    notes: tuple[str, ...] = ()
    """Properties of the file that were lost, a clause each; usually empty."""


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
    file: TextFile, text: str, path: str | os.PathLike[str] | None = None
) -> SaveResult:
    """Write `text` as the content of `file`, or under another path.

    A temporary file beside it is synced and then renamed to it, with its permissions
    and, as far as the system allows, its owner. Links are followed. Other hard links to
    the file keep the old text, and a note says so. Under another path, a text that the
    encoding can't hold is written as UTF-8. The caller checks `changed_on_disk` before.

    Raises:
        LmtuiError: the file can't be written; it is as it was.
    """
    path = file.path if path is None else Path(path).absolute()
    if path != file.path and file.encoding == "latin-1" and max(text, default="") > "ÿ":
        file = replace(file, encoding="utf-8")
    data = to_bytes(file, text)
    try:
        target = Path(os.path.realpath(path))
        before = target.stat() if target.exists() else None
        if before:
            require_regular(path, before)
            if not os.access(target, os.W_OK):
                raise PermissionError(errno.EACCES, "it is read-only")
        like = target if before else None
        paths.write_atomically(target, data, like=like, private=False)
        after = target.stat()
    except (OSError, ValueError) as error:
        raise _not_saved(path, error) from error
    text, _, endings = from_bytes(data, file.encoding)
    # A text without line breaks keeps the main ending of its file.
    endings = endings if "\n" in text else replace(file.endings, own=())
    saved = replace(
        file,
        path=path,
        text=text,
        endings=endings,
        stamp=stamp_of(after, data),
        read_only=False,
        is_named=True,
    )
    return SaveResult(saved, _notes(before, after))


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


def _notes(before: os.stat_result | None, after: os.stat_result) -> tuple[str, ...]:
    """Return the properties that the new file did not take over from the old one."""
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
