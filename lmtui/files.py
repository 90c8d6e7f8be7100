"""Reading the user's files as text.

Owns the refusals (missing, a folder, binary, not UTF-8), each with what to do.
A byte-order mark, line endings and everything else stay as they are: what is
scored is the file, not an edited copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lmtui.errors import LmtuiError

_FIRST_PART = 1 << 16  # bytes that show whether a file is text at all


@dataclass(frozen=True, slots=True)
class TextSource:
    """A text and where it came from."""

    name: str
    text: str


def read_file(name: str, *, nul: bool = False) -> TextSource:
    """The text of a file; see `read_bytes`.

    Raises:
        LmtuiError: it can't be read, or is not UTF-8 text.
    """
    return TextSource(name, read_text(name, lambda: Path(name).open("rb"), nul=nul))


def read_text(
    name: str, open_file: Callable[[], BinaryIO], *, nul: bool = False
) -> str:
    """All that is read from what `open_file` opens; see `read_bytes`.

    Raises:
        LmtuiError: it can't be read, or is not UTF-8 text.
    """
    return decode(name, read_bytes(name, open_file, nul=nul))


def read_bytes(
    name: str, open_file: Callable[[], BinaryIO], *, nul: bool = False
) -> bytes:
    """The bytes of a text, not yet decoded. A NUL says that they are no text, but with
    `nul` it is a character like any other.

    Raises:
        LmtuiError: it can't be read, or is binary.
    """
    try:
        with open_file() as file:
            return file.read() if nul else _read_text_bytes(name, file)
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from error


def decode(name: str, data: bytes) -> str:
    """`data` as text, nothing of it changed.

    Raises:
        LmtuiError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(name, error.start) from None


def unreadable(name: str, error: OSError | ValueError) -> LmtuiError:
    """The error for a path that can't be read."""
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
    """All bytes of `file`; a file that is no text is refused by its beginning."""
    data = file.read(_FIRST_PART)
    if b"\0" not in data:
        data += file.read()
    if b"\0" in data:
        hint = "Give a text file in UTF-8."
        place = f"{name}, NUL at byte {data.index(0)}"
        raise LmtuiError("this is a binary file, not a text", place, hint)
    return data


def not_utf8(name: str, position: int) -> LmtuiError:
    """The error for a text with a byte that is none of UTF-8's."""
    return LmtuiError(
        "the text is not valid UTF-8",
        f"{name}, byte {position}",
        "Convert it, for example with: iconv -f LATIN1 -t UTF-8",
    )
