"""Converts the tables of lmtui 0.1.0, which kept a message in columns and its tokens
packed; to be removed with 0.3."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
import zlib
from itertools import accumulate, pairwise
from typing import Any

from lmtui.chat.records import compressed

VERSION = 4
"""The version of the file that 0.1.0 wrote."""

_COLUMNS = ("ids", "ranks", "sizes", "pieces",
            "logprobs", "entropies", "sampled_probs")  # fmt: skip
_MORE = {
    0: (),
    1: ("forced",),
    3: ("ranks_above", "entropies_least", "entropies_most"),
    4: ("ranks_above", "entropies_least", "entropies_most", "forced"),
}
"""Further columns, by how many there are."""
_FLOATS = {"logprobs", "entropies", "sampled_probs", "entropies_least",
           "entropies_most", "varentropies"}  # fmt: skip
_RECORD = ("id", "parent", "role", "content", "state", "model", "given", "rest",
           "left_out", "scored_by")  # fmt: skip


def make_room(connection: sqlite3.Connection) -> None:
    """Remove what has a name that a new table, index or trigger takes."""
    for kind, names in {
        "TRIGGER": ("message_made", "message_left", "message_unread", "message_read"),
        "TABLE": ("words",),
        "VIEW": ("spoken",),
        "INDEX": ("by_use",),
    }.items():
        for name in names:
            connection.execute(f"DROP {kind} {name}")


def convert(connection: sqlite3.Connection) -> None:
    """Fill the new tables from the old ones, which are removed."""
    names = ("id, uid, title, named, pinned, deleted, thinking, touched, created,"
             " updated, messages, preview, model")  # fmt: skip
    connection.execute(
        f"INSERT INTO conversation ({names}) SELECT {names} FROM conversations"
    )
    for row in connection.execute("SELECT * FROM messages ORDER BY key"):
        record = {name: row[name] for name in _RECORD}
        for name in ("settings", "finish"):
            text = row[name]
            record[name] = text and json.loads(text, parse_constant=lambda _: None)
        try:
            tokens = _tokens(row)
        except (ValueError, zlib.error, struct.error):  # damaged
            tokens = b""
        at = ("key", "conversation", "id", "parent", "chosen", "gone", "writer")
        connection.execute(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*(row[name] for name in at), json.dumps(record), tokens),
        )
    for table in ("messages", "conversations"):
        connection.execute(f"DROP TABLE {table}")


def _tokens(row: sqlite3.Row) -> bytes:
    prompt = row["prompt"] and _prompt(row["prompt"])
    steps = row["steps"] and _columns(row["steps"])
    scored = row["scored"] and _columns(row["scored"])
    if not (prompt or steps or scored):
        return b""
    if steps and not prompt:
        steps["ids"] = None
    return compressed(
        {"prompt": prompt or None, "steps": steps or None, "scored": scored or None}
    )


def _columns(data: bytes) -> dict[str, Any]:
    """Return the packed columns of tokens as lists.

    Behind the numbers of tokens and bytes stand seven columns, the bytes, and others;
    behind all that one more, compressed apart.
    """
    stream = zlib.decompressobj()
    whole = stream.decompress(data)
    count, size = struct.unpack_from("<II", whole)
    start, end = 8, 8 + 4 * count * len(_COLUMNS)
    columns = _numbers(whole[start:end], count, _COLUMNS)
    rest = whole[end + size :]
    columns |= _numbers(rest, count, _MORE[len(rest) // (4 * count)])
    if behind := stream.unused_data:
        columns |= _numbers(zlib.decompress(behind), count, ("varentropies",))
    joined, ends = whole[end : end + size], accumulate(columns.pop("sizes"), initial=0)
    columns["bytes"] = [joined[at:to].hex() for at, to in pairwise(ends)]
    return columns


def _numbers(data: bytes, count: int, names: tuple[str, ...]) -> dict[str, list[Any]]:
    columns = dict[str, list[Any]]()
    for index, name in enumerate(names):
        kind = "f" if name in _FLOATS else "I"
        values = struct.unpack_from(f"<{count}{kind}", data, 4 * count * index)
        columns[name] = list(values if kind == "I" else map(_known, values))
    return columns


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.9g}")


def _prompt(data: bytes) -> dict[str, Any]:
    whole = zlib.decompress(data)
    count, texts = struct.unpack_from("<II", whole)
    sizes = struct.unpack_from(f"<{texts}I", whole, 8)
    start = 8 + 4 * (texts + count)
    ids = struct.unpack_from(f"<{count}I", whole, 8 + 4 * texts)
    ends = accumulate(sizes, initial=start)
    text, *stops = (
        whole[at:to].decode("utf-8", "replace") for at, to in pairwise(ends)
    )
    return {"ids": ids, "text": text, "stop_texts": stops}
