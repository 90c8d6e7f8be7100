"""Reading and editing of `config.toml`: put a value, drop one.

An edit keeps the user's comments, order and layout. The result is parsed and compared
with the intended table before it is written. Knows no setting.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
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
    """Return the bytes of the file; refuse what could block or be endless."""
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


def _is_deep(table: dict[str, Any]) -> bool:
    """Return whether a table is nested deeper than any setting; recursive functions
    walk through it."""
    layer: list[Any] = [table]
    for _ in range(_DEPTH):
        layer = [
            part
            for value in layer
            if isinstance(value, dict | list)
            for part in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(layer)


def _broken(title: str, detail: str) -> LmtuiError:
    return LmtuiError(title, detail, "Correct the file, or move it away.")


def _detail(file: Path, text: str, reason: str) -> str:
    """Return the parser's message with the line that it is about."""
    lines = text.splitlines() or [""]
    match = re.search(r"at line (\d+)", reason)
    number = int(match[1]) if match else len(lines)
    line = _KEY.sub(r"\1 …", lines[min(number, len(lines)) - 1][:_LONGEST])
    return f"{file}: {reason}\n{number} | {line}"


TomlValue = str | int | float | bool | list[str]
TomlPath = tuple[str, ...]
"""A key with the tables that it is in: `("sampling", "top_k")`."""


@dataclass(frozen=True, slots=True)
class Put:
    """Set a key to a value; its tables are created where missing."""

    key: TomlPath
    value: TomlValue


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove a key or a table; does nothing where it is missing."""

    key: TomlPath


TomlEdit = Put | Drop


def change(file: Path, changes: Iterable[TomlEdit], *, seen: str | None = None) -> str:
    """Make all changes or none; return the new text of the file.

    With `seen`, the file must still have this text.

    Raises:
        LmtuiError: the file is broken, can't be written, or changed meanwhile.
    """
    text = text_of(file)
    if seen is not None and text != seen:
        raise LmtuiError(
            "the settings file was changed by another program",
            f"{file}",
            "Nothing was written. Look at it as it is now, and change it again.",
        )
    meant = parsed(file, text)
    for edit in changes:
        _change_plain(meant, edit)
        text = _changed(text, edit)
    if _read(text) != _without_empty(meant):
        raise LmtuiError(
            "this change would break the settings file",
            f"{file}",
            "Nothing was written. Change it by hand.",
        )
    write(file, text.encode("utf-8"))
    return text


def _read(text: str) -> Any:
    """Parse a text; None where it is not valid."""
    try:
        text.encode("utf-8")
        return _without_empty(tomllib.loads(text))
    except ValueError:
        return None


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table without the empty tables in it, which set nothing."""
    kept: dict[str, Any] = {}
    for name, value in table.items():
        inner = _without_empty(value) if isinstance(value, dict) else value
        if inner != {}:
            kept[name] = inner
    return kept


def _change_plain(table: dict[str, Any], change: TomlEdit) -> None:
    *names, last = change.key
    for name in names:
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            raise _no_table(name)
        table = inner
    match change:
        case Put():
            table[last] = change.value
        case Drop():
            table.pop(last, None)


def _no_table(name: str) -> LmtuiError:
    hint = "Correct the settings file by hand."
    return LmtuiError(f"{name} is not a table in the settings file", "", hint)


def _changed(text: str, change: TomlEdit) -> str:
    """Make the change in the text itself."""
    import tomlkit  # imported here: most runs only read

    document = tomlkit.parse(text)
    match change:
        case Put():
            _put(document, change.key, change.value, ended=text.endswith("\n"))
        case Drop():
            _drop(document, change.key)
    return tomlkit.dumps(document)


def _put(
    document: TOMLDocument, key: TomlPath, value: TomlValue, *, ended: bool
) -> None:
    import tomlkit

    *names, last = key
    if not names and last not in document and _put_above_tables(document, last, value):
        return
    table: Any = document
    for depth, name in enumerate(names):
        if name not in table:
            if table is document and document.body:
                document.add(tomlkit.ws("\n" if ended else "\n\n"))
            # A table that only holds tables needs no line of its own.
            table[name] = tomlkit.table(depth + 1 < len(names))
        table = table[name]
    if last in table or not _put_below_values(table, last, value):
        table[last] = value


def _drop(document: TOMLDocument, key: TomlPath) -> None:
    *names, last = key
    table: Any = document
    for name in names:
        if name not in table:
            return
        table = table[name]
    if last in table:
        del table[last]


def _put_above_tables(document: TOMLDocument, key: str, value: TomlValue) -> bool:
    """Insert a line above the first table and its comment; return whether there is a
    table.

    tomlkit alone would put it between the two.
    """
    import tomlkit
    from tomlkit.items import Comment, SingleKey, Whitespace

    body = document.body
    tables = (n for n, (_, item) in enumerate(body) if _is_table(item))
    if (index := next(tables, None)) is None:
        return False
    while index and isinstance(body[index - 1][1], Comment):
        index -= 1
    line = tomlkit.item(value)
    line.trivia.trail = "\n"
    under_values = index > 1 and not isinstance(body[index - 2][1], Comment)
    if under_values and isinstance(body[index - 1][1], Whitespace):
        index -= 1
    else:
        body.insert(index, (None, tomlkit.ws("\n")))
    body.insert(index, (SingleKey(key), line))
    return True


def _put_below_values(table: object, key: str, value: TomlValue) -> bool:
    """Insert a line below the last value of a table; return False for inline tables and
    tables without values. tomlkit alone would put it below the comment on the next
    table."""
    import tomlkit
    from tomlkit.items import SingleKey, Table

    if not isinstance(table, Table) or table.display_name is None:
        return False
    body = table.value.body
    own = [n for n, (name, item) in enumerate(body) if name and not _is_table(item)]
    if not own:
        return False
    above = body[own[-1]][1].trivia
    # this line may be the last of the file, without a newline
    above.trail = above.trail or "\n"
    line = tomlkit.item(value)
    line.trivia.trail = "\n"
    body.insert(own[-1] + 1, (SingleKey(key), line))
    return True


def _is_table(item: object) -> bool:
    from tomlkit.items import AoT, Table

    return isinstance(item, Table | AoT)
