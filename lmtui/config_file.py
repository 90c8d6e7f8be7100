"""`config.toml` as a file: reading and replacing it.

Owns what can be wrong with the file itself. Knows no setting.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.errors import LmtuiError


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
        return file.read_bytes().decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError as error:
        detail = f"{file}, byte {error.start}"
        raise _broken("the settings file is not UTF-8", detail) from error
    except OSError as error:
        detail = f"{file} ({error.strerror})"
        raise _broken("the settings file can't be read", detail) from error


def parsed(file: Path, text: str) -> dict[str, Any]:
    """The table that a text of the file says.

    Raises:
        LmtuiError: it is no TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        title = "the settings file is not valid TOML"
        raise _broken(title, _detail(file, text, str(error))) from error


def _broken(title: str, detail: str) -> LmtuiError:
    return LmtuiError(title, detail, "Correct the file, or move it away.")


def _detail(file: Path, text: str, reason: str) -> str:
    """The parser's words with the line that they are about."""
    lines = text.splitlines() or [""]
    found = re.search(r"at line (\d+)", reason)
    number = int(found[1]) if found else len(lines)
    line = lines[min(number, len(lines)) - 1]
    return f"{file}: {reason}\n{number} | {line}"
