"""`config.toml` as a file: reading and replacing it.

Owns what can be wrong with the file itself. Knows no setting.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError

_MOST = 1 << 20  # bytes; a file of settings is far smaller
_DEPTH = 20  # of tables in tables
_LONGEST = 200  # characters of a line that are shown


def read(file: Path) -> dict[str, Any]:
    """The table in `file`; empty when there is none.

    Raises:
        LmtuiError: it can't be read, or is no TOML.
    """
    return parsed(file, text_of(file))


def write(file: Path, data: bytes) -> None:
    """Put `data` in place of the file, which is made where missing.

    It is replaced whole or not at all; its permissions stay, and a link to it is
    followed.

    Raises:
        LmtuiError: it can't be written.
    """
    try:
        paths.ensure_folder(file.parent)
        target = file.resolve()
        old = target if target.exists() else None
        if old and not os.access(old, os.W_OK):
            raise PermissionError(None, "it is read-only")
        paths.write_atomically(target, data, like=old)
    except OSError as error:
        raise LmtuiError(
            "the settings file can't be written",
            f"{file} ({error.strerror})",
            "Make it writable, or free some space.",
        ) from error


def text_of(file: Path) -> str:
    """What stands in the file; nothing where there is none.

    Raises:
        LmtuiError: it can't be read, or is not UTF-8.
    """
    try:
        return _bytes_of(file).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError as error:
        detail = f"{file}, byte {error.start}"
        raise _broken("the settings file is not UTF-8", detail) from error
    except OSError as error:
        detail = f"{file} ({error.strerror})"
        raise _broken("the settings file can't be read", detail) from error


def _bytes_of(file: Path) -> bytes:
    """The bytes of the file, which is read only where that comes to an end soon."""
    title = "the settings file can't be read"
    if file.is_dir():
        raise _broken(title, f"{file} is a folder")
    if not stat.S_ISREG(file.stat().st_mode):
        raise _broken(title, f"{file} is no ordinary file")
    with file.open("rb") as opened:
        data = opened.read(_MOST + 1)
    if len(data) > _MOST:
        raise _broken(title, f"{file} has more than {_MOST:,} bytes")
    return data


def parsed(file: Path, text: str) -> dict[str, Any]:
    """The table that a text of the file says.

    Raises:
        LmtuiError: it is no TOML.
    """
    try:
        table = tomllib.loads(text)
        if _is_deep(table):
            raise RecursionError
    except tomllib.TOMLDecodeError as error:
        title = "the settings file is not valid TOML"
        raise _broken(title, _detail(file, text, str(error))) from error
    except (RecursionError, ValueError) as error:  # a number can be too long for it
        deep = isinstance(error, RecursionError)
        why = "its tables or arrays are nested too deeply" if deep else error
        raise _broken("the settings file can't be used", f"{file}: {why}") from error
    return table


def _is_deep(table: dict[str, Any]) -> bool:
    """Whether a table is nested deeper than any setting. Who walks through one calls
    itself."""
    layer: list[Any] = [table]
    for _ in range(_DEPTH):
        layer = [
            part
            for each in layer
            if isinstance(each, dict | list)
            for part in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(layer)


def _broken(title: str, detail: str) -> LmtuiError:
    return LmtuiError(title, detail, "Correct the file, or move it away.")


def _detail(file: Path, text: str, reason: str) -> str:
    """The parser's words with the line that they are about."""
    lines = text.splitlines() or [""]
    found = re.search(r"at line (\d+)", reason)
    number = int(found[1]) if found else len(lines)
    line = lines[min(number, len(lines)) - 1][:_LONGEST]
    return f"{file}: {reason}\n{number} | {line}"
