"""`config.toml` as a file: reading it, and changing one value of it.

Owns what can be wrong with the file itself, and that a change leaves the user's
comments, order and layout as they are. Knows no setting.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtui import paths
from lmtui.errors import LmtuiError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument


def read(file: Path) -> dict[str, Any]:
    """The table in `file`; empty when there is none.

    Raises:
        LmtuiError: it can't be read, or is no TOML.
    """
    return _parsed(file, _text(file))


def set_value(file: Path, key: str, value: str) -> None:
    """Give `key`, outside every table, this value; the file is made where missing.

    The file is replaced whole or not at all; its permissions stay, and a link to it
    is followed.

    Raises:
        LmtuiError: the file is broken, or can't be written.
    """
    import tomlkit  # only who writes needs it, and most runs only read

    text = _text(file)
    _parsed(file, text)
    document = tomlkit.parse(text)
    if key in document or not _put_above_tables(document, key, value):
        document[key] = value
    _write(file, tomlkit.dumps(document).encode("utf-8"))


def _put_above_tables(document: TOMLDocument, key: str, value: str) -> bool:
    """Insert a line above the first table and the comment on it; whether there is one.

    tomlkit alone would put it between the two.
    """
    import tomlkit
    from tomlkit.items import AoT, Comment, SingleKey, Table, Whitespace

    body = document.body
    tables = (n for n, (_, item) in enumerate(body) if isinstance(item, Table | AoT))
    if (place := next(tables, None)) is None:
        return False
    while place and isinstance(body[place - 1][1], Comment):
        place -= 1
    line = tomlkit.item(value)
    line.trivia.trail = "\n"
    under_values = place > 1 and not isinstance(body[place - 2][1], Comment)
    if under_values and isinstance(body[place - 1][1], Whitespace):
        place -= 1
    else:
        body.insert(place, (None, tomlkit.ws("\n")))
    body.insert(place, (SingleKey(key), line))
    return True


def _write(file: Path, data: bytes) -> None:
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


def _text(file: Path) -> str:
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


def _parsed(file: Path, text: str) -> dict[str, Any]:
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
