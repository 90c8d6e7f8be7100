"""Changing `config.toml`: a value put, taken out, a table renamed.

Owns that a change leaves the user's comments, order and layout as they are, and says
exactly what it is meant to say: what was made is read again before it is written. Knows
no setting.
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


if TYPE_CHECKING:
    from tomlkit import TOMLDocument

TomlScalar = str | int | float | bool
TomlPath = tuple[str, ...]
"""A key with the tables it stands in: `("sampling", "top_k")`."""


@dataclass(frozen=True, slots=True)
class Put:
    """Give a key this value; its tables are made where missing."""

    key: TomlPath
    value: TomlScalar


@dataclass(frozen=True, slots=True)
class Drop:
    """Take a key, or a table, out; nothing happens where it is not there."""

    key: TomlPath


@dataclass(frozen=True, slots=True)
class Rename:
    """Call a table otherwise; what stands in it stays, comments too."""

    key: TomlPath
    name: str


TomlEdit = Put | Drop | Rename


def change(file: Path, changes: Iterable[TomlEdit], *, seen: str | None = None) -> str:
    """Make the changes, all or none; what stands in the file then.

    With `seen`, only where that is what still stands in it.

    Raises:
        LmtuiError: the file is broken, can't be written, or changed meanwhile.
    """
    text = text_of(file)
    if seen is not None and text != seen:
        raise LmtuiError(
            "the settings file was changed by someone else",
            f"{file}",
            "Nothing was written. Look at it as it is now, and change it again.",
        )
    meant = parsed(file, text)
    for each in changes:
        _change_plain(meant, each)
        text = _changed(text, each)
    if _read(text) != _without_empty(meant):
        raise LmtuiError(
            "this change would break the settings file",
            f"{file}",
            "Nothing was written. Change it by hand.",
        )
    write(file, text.encode("utf-8"))
    return text


def _read(text: str) -> Any:
    """The table that a text says; None where it says none."""
    try:
        text.encode("utf-8")
        return _without_empty(tomllib.loads(text))
    except ValueError:
        return None


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    """A table without those in it that are empty, which say nothing."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        inner = _without_empty(value) if isinstance(value, dict) else value
        if inner != {}:
            found[name] = inner
    return found


def _change_plain(table: dict[str, Any], change: TomlEdit) -> None:
    """The change, on a table without a layout."""
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
        case Rename():
            table[change.name] = table.pop(last)


def _no_table(name: str) -> LmtuiError:
    hint = "Correct the settings file by hand."
    return LmtuiError(f"{name} is not a table in the settings file", "", hint)


def _changed(text: str, change: TomlEdit) -> str:
    """The change, on the text itself."""
    import tomlkit  # only who writes needs it, and most runs only read

    document = tomlkit.parse(text)
    match change:
        case Put():
            _put(document, change.key, change.value, ended=text.endswith("\n"))
        case Drop():
            _drop(document, change.key)
        case Rename():
            _rename(document, change)
    return tomlkit.dumps(document)


def _put(
    document: TOMLDocument, key: TomlPath, value: TomlScalar, *, ended: bool
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
            # A table that only holds others needs no line of its own.
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


def _rename(document: TOMLDocument, change: Rename) -> None:
    *names, last = change.key
    table: Any = document
    for name in names:
        table = table[name]
    table[change.name] = table.pop(last)


def _put_above_tables(document: TOMLDocument, key: str, value: TomlScalar) -> bool:
    """Insert a line above the first table and the comment on it; whether there is one.

    tomlkit alone would put it between the two.
    """
    import tomlkit
    from tomlkit.items import Comment, SingleKey, Whitespace

    body = document.body
    tables = (n for n, (_, item) in enumerate(body) if _is_table(item))
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


def _put_below_values(table: object, key: str, value: TomlScalar) -> bool:
    """Insert a line below the last value of a table of several lines; whether it is
    one. tomlkit alone would put it below what stands above the next table."""
    import tomlkit
    from tomlkit.items import SingleKey, Table

    if not isinstance(table, Table) or table.display_name is None:
        return False
    body = table.value.body
    own = [n for n, (name, item) in enumerate(body) if name and not _is_table(item)]
    if not own:
        return False
    above = body[own[-1]][1].trivia
    above.trail = above.trail or "\n"  # it may end the file
    line = tomlkit.item(value)
    line.trivia.trail = "\n"
    body.insert(own[-1] + 1, (SingleKey(key), line))
    return True


def _is_table(item: object) -> bool:
    from tomlkit.items import AoT, Table

    return isinstance(item, Table | AoT)
