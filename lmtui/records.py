"""Records on the disk: dataclasses of numbers, texts, tuples and mappings, written as
JSON and read back by pydantic, which checks each field.

Knows no record.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lmtui import paths
from lmtui.errors import LmtuiError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

_Record = TypeVar("_Record")

_LONGEST = 50_000_000  # bytes of a foreign file


def plain(record: Any) -> dict[str, Any]:
    """Return a record in JSON's types; NaN and infinity become None."""
    values: dict[str, Any] = json.loads(
        json.dumps(asdict(record)), parse_constant=lambda _: None
    )
    return values


def built(kind: type[_Record], values: Any) -> _Record:
    """Return the record that `plain` returned the values of, or that some JSON, as
    bytes, holds: that may come from anywhere, and has to have the very types.

    Keys that the record does not have are left out: files of other versions can be
    read.

    Raises:
        ValueError: the values make no such record; it says which field is wrong.
    """
    # Imported here: it takes a tenth of a second.
    from pydantic import ValidationError

    adapter = _adapter_of(kind)
    try:
        record: _Record
        if isinstance(values, bytes):
            record = adapter.validate_json(values, strict=True)
        else:
            record = adapter.validate_python(values)
    except ValidationError as error:
        raise ValueError(words_of(error)) from None
    return record


def words_of(error: ValidationError) -> str:
    """Return the first field that is wrong, and why."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}".removeprefix(": ")


def _adapter(kind: type[_Record]) -> TypeAdapter[_Record]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


_adapter_of: Callable[[Any], TypeAdapter[Any]] = cache(_adapter)


def write(file: Path, record: Any) -> None:
    """Write a record to a file, completely or not at all.

    Raises:
        OSError: it can't be written.
    """
    paths.write_atomically(file, json.dumps(plain(record), indent=1).encode())


def read(
    file: Path, kind: type[_Record], *, title: str, hint: str, foreign: bool = False
) -> _Record:
    """Return the record that a file has as JSON; a `foreign` file may come from
    anywhere.

    Raises:
        LmtuiError: with this title and hint; its detail says where the file is wrong.
    """
    try:
        if foreign and file.stat().st_size > _LONGEST:
            raise ValueError("it is too large")
        data = file.read_bytes()
        return built(kind, data if foreign else json.loads(data))
    except (OSError, ValueError, RecursionError) as error:
        raise LmtuiError(title, f"{file}: {error}", hint) from error
