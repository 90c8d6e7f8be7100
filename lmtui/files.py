"""Reading of the user's files as text; refuses missing, binary and non-UTF-8 ones.

A byte-order mark, line endings and everything else stay as they are: the file is
scored, not an edited copy.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lmtui.errors import LmtuiError

_UTF16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
_CONVERT = "Convert it, for example with: iconv -f {} -t UTF-8 FILE > NEW"
_FIRST_PART = 1 << 16  # bytes that show whether a file is text


@dataclass(frozen=True, slots=True)
class TextSource:
    name: str
    text: str


def read_file(name: str) -> TextSource:
    """Return the text of a file; see `read_bytes`."""
    return TextSource(name, read_text(name, lambda: Path(name).open("rb")))


def read_text(name: str, open_file: Callable[[], BinaryIO]) -> str:
    """Return the text that `open_file` opens; see `read_bytes`."""
    return decode(name, read_bytes(name, open_file))


def read_bytes(
    name: str, open_file: Callable[[], BinaryIO], *, nul: bool = False
) -> bytes:
    """Return the bytes of a text, not yet decoded. A NUL byte marks a binary file,
    unless `nul` allows it.

    Raises:
        LmtuiError: it can't be read, or is binary.
    """
    try:
        with open_file() as file:
            return file.read() if nul else _read_text_bytes(name, file)
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from error


def decode(name: str, data: bytes) -> str:
    """Decode `data` as UTF-8, unchanged."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        raise not_utf8(name, error.start, line) from None


def unreadable(name: str, error: OSError | ValueError) -> LmtuiError:
    if isinstance(error, IsADirectoryError):
        hint = "Name the files in it, for example with a pattern."
        return LmtuiError("this is a folder, not a text", name, hint)
    if isinstance(error, FileNotFoundError):
        hint = "Check the path; - reads stdin."
        return LmtuiError("there is no such file", name, hint)
    reason = getattr(error, "strerror", None) or error
    hint = "Check the path and its permissions."
    return LmtuiError("the file can't be read", f"{name} ({reason})", hint)


def _read_text_bytes(name: str, file: BinaryIO) -> bytes:
    """Return all bytes of `file`; refuse a binary file by its beginning."""
    data = file.read(_FIRST_PART)
    if b"\0" not in data:
        data += file.read()
    if data.startswith(_UTF16):
        hint = _CONVERT.format("UTF-16")
        raise LmtuiError("the text is UTF-16, not UTF-8", name, hint)
    if b"\0" in data:
        raise binary(name, f"NUL at byte {data.index(0)}")
    return data


def binary(name: str, place: str) -> LmtuiError:
    hint = "Give a text file in UTF-8."
    return LmtuiError("this is a binary file, not a text", f"{name}, {place}", hint)


def not_utf8(name: str, position: int, line: int = 1) -> LmtuiError:
    """Return the error for a text that is not UTF-8; `position` is an offset in
    bytes, `line` counts from 1."""
    return LmtuiError(
        "the text is not valid UTF-8",
        f"{name}, byte {position} (line {line})",
        _CONVERT.format("LATIN1"),
    )
