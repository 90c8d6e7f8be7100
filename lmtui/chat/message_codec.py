"""A message as a row of the store and as an object of JSON, and back.

`COLUMNS` is the one mapping of its fields: JSON is made from a row, and read into one.
Checks every value, since a file may be damaged or foreign. Opens no SQL connection.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any, TypeVar, cast, get_args

from lmtui import processes
from lmtui.chat.message import ChatMessage, MessageState
from lmtui.chat.token_codec import (
    OPTIONAL,
    TOKEN_COLUMNS,
    EncodedTokens,
    TokenColumns,
    column,
    pack,
    pack_prompt,
    unpack,
    unpack_prompt,
)
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Prompt,
    Role,
    SamplingSettings,
)
from lmtui.errors import LmtuiError

T = TypeVar("T")
Fields = Mapping[str, Any]
_LARGEST = 2**53  # a JSON reader may round larger integers


def storable(text: str) -> str:
    """Return a text with unpaired surrogates replaced, which UTF-8 can't encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def checked(kind: type[T], value: object) -> T:
    """Return a value of JSON that is of a type; texts with surrogates replaced.

    Raises:
        ValueError: it is of another type, or a number that is out of range.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"a value is not {_NAMES[kind]}")
    if isinstance(value, str):
        return cast("T", storable(value))
    if isinstance(value, int) and not 0 <= value < _LARGEST:
        raise ValueError("a number is out of range")
    return value


text_of, whole_of = partial(checked, str), partial(checked, int)
_NAMES = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}


def _or_none(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else read(value)


# Columns whose values differ between the store and JSON.


def _prompt_fields(data: bytes) -> Fields | None:
    if not data:
        return None
    prompt = unpack_prompt(data)
    stops = list(prompt.stop_texts)
    return {"ids": list(prompt.ids), "text": prompt.text, "stop_texts": stops}


def _prompt_data(value: object) -> bytes:
    if value is None:
        return b""
    table = checked(dict, value)
    ids = tuple(map(whole_of, checked(list, table["ids"])))
    stops = tuple(map(text_of, checked(list, table["stop_texts"])))
    return pack_prompt(Prompt(ids, text_of(table["text"]), stops))


def _token_fields(data: bytes) -> dict[str, Any] | None:
    """Return packed tokens as lists: of bytes in hexadecimal, and of numbers.

    Floats have the fewest digits that tell each float32 from every other; unknown and
    infinite ones are None.
    """
    if not data:
        return None
    columns = unpack(data)
    lists: dict[str, list[Any]] = {}
    for name, numbers in columns.numbers.items():
        if name == "sizes":
            continue
        lists[name] = [
            (float(f"{n:.9g}") if math.isfinite(n) else None) if type(n) is float else n
            for n in numbers
        ]
        if name == "ids":
            lists["bytes"] = [data.hex() for data in columns.spelled()]
    return lists


def _token_data(value: object) -> bytes:
    if value is None:
        return b""
    table = checked(dict, value)
    data = [bytes.fromhex(text_of(text)) for text in checked(list, table["bytes"])]
    lists: dict[str, Sequence[Any]] = {
        name: checked(list, table[name])
        for name in TOKEN_COLUMNS
        if name != "sizes"
        and not any(name in names and names[0] not in table for names in OPTIONAL)
    }
    lists["sizes"] = list(map(len, data))
    if {len(numbers) for numbers in lists.values()} != {len(data)}:
        raise ValueError("the lists of tokens differ in length")
    numbers = {
        name: column(TOKEN_COLUMNS[name][0], lists[name])
        for name in TOKEN_COLUMNS
        if name in lists
    }
    return TokenColumns(numbers, b"".join(data)).packed()


def _finite(text: str) -> Fields:
    """Return an object of JSON with None for NaN and infinity."""
    values: Fields = json.loads(text, parse_constant=lambda _: None)
    return values


@dataclass(frozen=True, slots=True)
class MessageColumn:
    """How a column of the store stands in JSON."""

    read: Callable[[Any], Any]
    """Returns the column's value for one of JSON, which may be anything."""
    written: Callable[[Any], Any] = lambda value: value
    """Returns JSON's value for the column's."""


_JSON = _or_none(json.dumps)
COLUMNS: Mapping[str, MessageColumn] = {
    "id": MessageColumn(whole_of),
    "parent": MessageColumn(_or_none(whole_of)),
    "chosen": MessageColumn(_or_none(whole_of)),
    "role": MessageColumn(text_of),
    "content": MessageColumn(text_of),
    "state": MessageColumn(
        text_of, lambda state: "stopped" if state == "growing" else state
    ),
    "model": MessageColumn(_or_none(text_of)),
    "settings": MessageColumn(_JSON, _or_none(json.loads)),
    "finish": MessageColumn(_JSON, _or_none(_finite)),
    "given": MessageColumn(whole_of),
    "rest": MessageColumn(text_of),
    "left_out": MessageColumn(whole_of),
    "prompt": MessageColumn(_prompt_data, _prompt_fields),
    "steps": MessageColumn(_token_data, _token_fields),
    "scored": MessageColumn(_token_data, _token_fields),
    "scored_by": MessageColumn(_or_none(text_of)),
}
"""The columns of a message in the order of JSON, where `gone` and `writer` are not."""

_WRITTEN = (*(name for name in COLUMNS if name != "chosen"), "gone", "writer")
UPSERT = (
    f"INSERT INTO messages (conversation, {', '.join(_WRITTEN)})"
    f" VALUES (:conversation, {', '.join(f':{name}' for name in _WRITTEN)})"
    " ON CONFLICT (conversation, id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _WRITTEN if name != "id")
)
"""Writes a row; `chosen` is written separately."""


def row_of(node: ChatMessage) -> dict[str, Any]:
    """Return a message as its columns; a growing one is marked as this process's."""
    packed = node.packed
    if packed is None:
        steps = node.steps
        if node.prompt is None:  # their ids are only an engine's own
            steps = tuple(replace(step, id=0) for step in steps)
        packed = EncodedTokens(pack(steps), pack(node.scored), pack_prompt(node.prompt))
    settings, finish = node.settings, node.finish
    return {
        **{name: getattr(node, name) for name in _WRITTEN[:-1]},
        "content": storable(node.content),
        "rest": storable(node.rest),
        "settings": settings and json.dumps(_values(settings)),
        "finish": finish and json.dumps(_values(finish, "taken_back", "notice")),
        **{name: getattr(packed, name) for name in EncodedTokens.__slots__},
        "writer": writer() if node.state == "growing" else None,
    }


def _values(item: SamplingSettings | GenerationResult, *optional: str) -> Fields:
    """Return the fields of a value, of those that are `optional` the texts that are not
    empty."""
    values = {field.name: getattr(item, field.name) for field in fields(item)}
    return {
        name: value
        for name, value in values.items()
        if name not in optional or (value and isinstance(value, str))
    }


def node_of(row: Fields) -> ChatMessage:
    """Return a message from its columns, its tokens packed.

    A growing message whose process is gone counts as stopped.

    Raises:
        ValueError: the columns are not a message.
    """
    state = row["state"]
    if state == "growing" and not _grows_elsewhere(row["writer"]):
        state = "stopped"
    if row["role"] not in get_args(Role) or state not in get_args(MessageState):
        raise ValueError("no such message")
    for names, kind in _KINDS.items():
        if not all(isinstance(row[name], kind) for name in names):
            raise ValueError(f"{', '.join(names)}: of another type")
    return ChatMessage(
        id=int(row["id"]),
        parent=None if row["parent"] is None else int(row["parent"]),
        role=row["role"],
        content=row["content"],
        state=state,
        model=row["model"],
        scored_by=row["scored_by"],
        given=int(row["given"]),
        rest=row["rest"],
        left_out=int(row.get("left_out", 0)),
        gone=bool(row["gone"]),
        settings=_settings_of(row["settings"]),
        finish=_finish_of(row["finish"]),
        packed=EncodedTokens(row["steps"], row["scored"], row["prompt"]),
    )


_KINDS: Mapping[tuple[str, ...], Any] = {
    ("content", "rest"): str,
    ("model", "scored_by"): str | None,
    ("steps", "scored", "prompt"): bytes,
}


def _settings_of(text: str | None) -> SamplingSettings | None:
    if text is None:
        return None
    try:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in checked(dict, json.loads(text)).items()
        }
        return SamplingSettings(**values)
    except (TypeError, LmtuiError) as error:
        raise ValueError("no sampling settings") from error


_SECONDS = ("prompt_seconds", "seconds")


def _finish_of(text: str | None) -> GenerationResult | None:
    if text is None:
        return None
    values = dict(checked(dict, json.loads(text)))
    kinds: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(("piece", "notice"), str),
        **dict.fromkeys(_SECONDS, float),
        **dict.fromkeys(("logprob", "first_token_seconds"), _or_none(float)),
        "guessed_tokens": _or_none(int),
        "reason": FinishReason,
    }
    try:
        for name, value in values.items():
            unknown = value is None and name in _SECONDS  # was NaN or infinite
            values[name] = kinds.get(name, int)(math.nan if unknown else value)
        return GenerationResult(**values)
    except (TypeError, KeyError, OverflowError) as error:
        raise ValueError("no ending") from error


def json_of(node: ChatMessage, chosen: int | None) -> dict[str, Any]:
    """Return a message with its unpacked tokens as an object of JSON."""
    row = {**row_of(node), "chosen": chosen}
    values = {name: column.written(row[name]) for name, column in COLUMNS.items()}
    steps = values["steps"]
    if steps and values["prompt"] is None and not any(steps["ids"]):  # none is known
        steps["ids"] = None
    return values


def row_of_json(value: object) -> dict[str, Any]:
    """Return the columns of an object of JSON.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: it is not a message.
    """
    table = checked(dict, value)
    steps = table["steps"]
    if table["prompt"] is None and isinstance(steps, dict) and steps["ids"] is None:
        zeros = [0] * len(checked(list, steps["bytes"]))
        table = {**table, "steps": {**steps, "ids": zeros}}
    row = {name: column.read(table[name]) for name, column in COLUMNS.items()}
    if row["steps"] and sum(unpack(row["steps"]).numbers["pieces"]) > len(
        row["content"]
    ):
        raise ValueError("the tokens are longer than their message")
    return {**row, "gone": False, "writer": None}


@cache
def writer() -> str:
    """Return the name of this process in a growing message: pid and start time."""
    pid = os.getpid()
    return f"{pid}:{processes.started(pid) or 0.0}"


def _grows_elsewhere(name: str | None) -> bool:
    """Return whether the process of this name still runs and is not this one."""
    pid, _, since = (name or "").partition(":")
    try:
        return processes.runs_elsewhere(int(pid), float(since))
    except ValueError:
        return False
