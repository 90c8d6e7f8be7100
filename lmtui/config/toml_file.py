"""Reading and editing of `config.toml`: put a value, drop one.

An edit keeps the user's comments, order and layout. Knows no setting.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtui import paths
from lmtui.errors import LmtuiError

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

_MOST = 1 << 20  # bytes; a settings file is far smaller
_DEPTH = 20  # of nested tables
_LONGEST = 200  # characters of a line in an error
_KEY = re.compile(
    r"(\bkey[\"']?\s*=).*"
)  # what follows may be a secret: no error shows it


def read(file: Path) -> dict[str, Any]:
    """Return the table in `file`; empty where there is no file."""
    return parsed(file, text_of(file))


def write(file: Path, data: bytes) -> None:
    """Replace the file by `data`, atomically, and create it where missing.

    The permissions stay, and a link is followed.

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
    """Return the text of the file; empty where there is none."""
    try:
        if file.exists() and not file.is_file():  # it could block or be endless
            raise OSError(None, "it is no ordinary file")
        with file.open("rb") as opened:
            data = opened.read(_MOST + 1)
        if len(data) > _MOST:
            raise OSError(None, f"it has more than {_MOST:,} bytes")
        return data.decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except UnicodeDecodeError as error:
        detail = f"{file}, byte {error.start}"
        raise _broken("the settings file is not UTF-8", detail) from error
    except OSError as error:
        detail = f"{file} ({error.strerror})"
        raise _broken("the settings file can't be read", detail) from error


def parsed(file: Path, text: str) -> dict[str, Any]:
    """Parse `text` as the contents of `file`."""
    try:
        table = tomllib.loads(text)
        if _is_deep(table):
            raise RecursionError
    except tomllib.TOMLDecodeError as error:
        title = "the settings file is not valid TOML"
        raise _broken(title, _detail(file, text, str(error))) from error
    # a number can be too long for the parser
    except (RecursionError, ValueError) as error:
        deep = isinstance(error, RecursionError)
        why = "its tables or arrays are nested too deeply" if deep else error
        raise _broken("the settings file can't be used", f"{file}: {why}") from error
    return table


def _is_deep(value: Any, room: int = _DEPTH) -> bool:
    """Return whether a table is nested deeper than any setting; recursive functions
    walk through it."""
    parts = list(value.values()) if isinstance(value, dict) else value
    inner = parts if isinstance(parts, list) else []
    return room == 0 or any(_is_deep(part, room - 1) for part in inner)


def _broken(title: str, detail: str) -> LmtuiError:
    return LmtuiError(title, detail, "Correct the file, or move it away.")


def _detail(file: Path, text: str, reason: str) -> str:
    """Return the parser's message with the line that it is about."""
    lines = text.splitlines() or [""]
    match = re.search(r"at line (\d+)", reason)
    number = int(match[1]) if match else len(lines)
    line = _KEY.sub(r"\1 …", lines[min(number, len(lines)) - 1][:_LONGEST])
    return f"{file}: {reason}\n{number} | {line}"


TomlValue = str | int | float | bool | Sequence[str] | Mapping[str, Any]
TomlPath = tuple[str, ...]
"""A key with the tables that it is in: `("sampling", "top_k")`."""


def change(
    file: Path, key: TomlPath, value: TomlValue | None, *, seen: str | None = None
) -> str:
    """Set a key, or remove it with None; return the new text of the file. The tables of
    a key are created where missing.

    With `seen`, the file must still have this text.

    Raises:
        LmtuiError: the file is broken, can't be written, or changed meanwhile.
    """
    import tomlkit  # imported here: most runs only read
    from tomlkit.exceptions import TOMLKitError

    text = text_of(file)
    if seen is not None and text != seen:
        raise LmtuiError(
            "the settings file was changed by another program",
            f"{file}",
            "Nothing was written. Look at it as it is now, and change it again.",
        )
    parsed(file, text)
    try:
        document = tomlkit.parse(text)
        if value is None:
            _drop(document, key)
        else:
            _put(document, key, value)
        text = tomlkit.dumps(document)
        data = text.encode("utf-8")
        tomllib.loads(text)
    except (AttributeError, TypeError, ValueError, TOMLKitError):
        # for example, the file has a value where a table is meant
        raise LmtuiError(
            "this change would break the settings file",
            f"{file}",
            "Nothing was written. Change it by hand.",
        ) from None
    write(file, data)
    return text


def _put(document: TOMLDocument, key: TomlPath, value: TomlValue) -> None:
    """Set a key; a new one goes below the last line of its table that has a value, so
    that the comment on the next table stays with it."""
    import tomlkit
    from tomlkit.container import Container
    from tomlkit.items import AoT, Table

    table: Any = document
    *names, last = _place(document, key)
    for name in names:
        if name not in table:
            if table is document and document.body:
                document.add(tomlkit.nl())
            table[name] = tomlkit.table()
        table = table[name]
    whole = table.value if isinstance(table, Table) else table
    is_line = last not in table and not isinstance(value, Mapping)
    body = whole.body if is_line and isinstance(whole, Container) else []
    is_table = [isinstance(item, Table | AoT) for _, item in body]
    end = is_table.index(True) if any(is_table) else len(body)
    while end and body[end - 1][0] is None:
        end -= 1
    below = body[end:]
    del body[end:]
    if below and table is document and not body:
        below.insert(0, (None, tomlkit.nl()))
    table[last] = value
    body += below


def _drop(document: TOMLDocument, key: TomlPath) -> None:
    table: Any = document
    *names, last = _place(document, key)
    for name in names:
        table = table.get(name, {})
    table.pop(last, None)


def _place(document: TOMLDocument, key: TomlPath) -> TomlPath:
    """Return the path of a key whose name has a dot, such as `chat.stop`, which may be
    in a table of its own."""
    *names, last = key
    table: Any = document
    for name in names:
        table = table.get(name, {})
    first, _, rest = last.partition(".")
    is_apart = rest and last not in table and rest in table.get(first, ())
    return (*names, first, rest) if is_apart else key
