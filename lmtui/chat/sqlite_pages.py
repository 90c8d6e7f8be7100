"""Reads rows directly from the leaf pages of an SQLite file, without its B-trees.

A damaged page higher up in a tree hides all rows below it, though they are intact.
Format: https://www.sqlite.org/fileformat2.html. Knows neither a row's meaning nor a
connection.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress

PAGE = 4096
"""Page size in bytes; SQLite's default, which all files of this program have."""

_LEAF = 13  # type of a page that holds rows of a table
_FIRST = 100  # bytes of the file's header, on its first page
_INTEGERS = (0, 1, 2, 3, 4, 6, 8)  # bytes of an integer, by its serial type

SqliteValue = int | float | str | bytes | None


def leaf_rows(data: bytes) -> Iterator[tuple[int, list[SqliteValue]]]:
    """Yield the key and the values of every readable row, page by page.

    Free pages are skipped. Values are as they are stored: the key's own column is None,
    and invalid UTF-8 in text is replaced.
    """
    free = _free_pages(data)
    for number in range(len(data) // PAGE):
        if number in free:
            continue
        start = number * PAGE
        head = start + (_FIRST if number == 0 else 0)
        if data[head] != _LEAF:
            continue
        (count,) = struct.unpack_from(">H", data, head + 3)
        for index in range(min(count, PAGE // 4)):
            # A cell pointer of a damaged page may point anywhere.
            with suppress(IndexError, struct.error, ValueError):
                (at,) = struct.unpack_from(">H", data, head + 8 + 2 * index)
                yield _row(data, start + at)


def _free_pages(data: bytes) -> set[int]:
    """Return the numbers of the free pages, from 0, as far as the free list is
    readable."""
    numbers = set[int]()
    with suppress(struct.error):
        (trunk,) = struct.unpack_from(">I", data, 32)
        while trunk and trunk - 1 not in numbers:
            at = (trunk - 1) * PAGE
            numbers.add(trunk - 1)
            trunk, count = struct.unpack_from(">II", data, at)
            leaves = struct.unpack_from(f">{min(count, PAGE // 4 - 2)}I", data, at + 8)
            numbers.update(leaf - 1 for leaf in leaves)
    return numbers


def _row(data: bytes, at: int) -> tuple[int, list[SqliteValue]]:
    size, at = _varint(data, at)
    key, at = _varint(data, at)
    payload = _payload(data, at, size)
    head, type_at = _varint(payload, 0)
    values, at = list[SqliteValue](), head
    while type_at < head:
        kind, type_at = _varint(payload, type_at)
        value, at = _value(payload, kind, at)
        values.append(value)
    return key, values


def _payload(data: bytes, at: int, size: int) -> bytes:
    """Return the bytes of a row, those on overflow pages included."""
    most, least = PAGE - 35, (PAGE - 12) * 32 // 255 - 23
    if size > len(data):
        raise ValueError("longer than the file")
    if size <= most:
        return data[at : at + size]
    here = least + (size - least) % (PAGE - 4)
    here = here if here <= most else least
    parts, left = [data[at : at + here]], size - here
    (page,) = struct.unpack_from(">I", data, at + here)
    while left > 0:
        if not page:
            raise ValueError("its end is lost")
        at = (page - 1) * PAGE
        (page,) = struct.unpack_from(">I", data, at)
        parts.append(data[at + 4 : at + 4 + min(left, PAGE - 4)])
        left -= PAGE - 4
    return b"".join(parts)


def _value(payload: bytes, kind: int, at: int) -> tuple[SqliteValue, int]:
    """Return the value of a serial type at an offset, and the offset after it."""
    if kind < len(_INTEGERS):
        if kind == 0:
            return None, at
        size = _INTEGERS[kind]
        return int.from_bytes(_slice(payload, at, size), "big", signed=True), at + size
    if kind == 7:
        (number,) = struct.unpack_from(">d", payload, at)
        return float(number), at + 8
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError("no such type")
    size = (kind - 12) // 2
    value = _slice(payload, at, size)
    return (value.decode("utf-8", "replace") if kind % 2 else value), at + size


def _slice(payload: bytes, at: int, size: int) -> bytes:
    if at + size > len(payload):
        raise ValueError("longer than its row")
    return payload[at : at + size]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the varint at an offset, of one to nine bytes, and the offset after it."""
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + index + 1
    value = value << 8 | data[at + 8]
    return value - (1 << 64) * (value >> 63), at + 9
