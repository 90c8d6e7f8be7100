"""Messages as rows of the store, and back.

Checks every value, since a file may be damaged or foreign. Opens no SQL connection.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import cache
from math import nan
from typing import Any, get_args

from lmtui import processes
from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage, MessageState
from lmtui.chat.token_codec import EncodedTokens, pack, pack_prompt
from lmtui.engine.types import FinishReason, GenerationResult, Role, SamplingSettings
from lmtui.errors import LmtuiError

COLUMNS = ("id", "parent", "role", "content", "state", "gone", "model", "scored_by",
           "given", "rest", "left_out", "settings", "finish", "steps", "scored",
           "prompt", "writer")  # fmt: skip
"""The columns that are written with a message; `chosen` is written separately."""

_NAMES = ", ".join(COLUMNS)
_PLACES = ", ".join(f":{name}" for name in COLUMNS)
_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
UPSERT = (
    f"INSERT INTO messages (conversation, {_NAMES}) VALUES (:conversation, {_PLACES})"
    f" ON CONFLICT (conversation, id) DO UPDATE SET {_UPDATES}"
)

Fields = Mapping[str, Any]


def row_of(node: ChatMessage) -> dict[str, Any]:
    """Return a message as its columns; a growing one is marked as this process's."""
    packed = node.packed or EncodedTokens(
        pack(node.stored_steps), pack(node.scored), pack_prompt(node.prompt)
    )
    finish = json.dumps(finish_fields(node.finish)) if node.finish else None
    settings = json.dumps(settings_fields(node.settings)) if node.settings else None
    return {
        "id": node.id,
        "parent": node.parent,
        "role": node.role,
        "content": storable(node.content),
        "state": node.state,
        "gone": node.gone,
        "model": node.model,
        "scored_by": node.scored_by,
        "given": node.given,
        "rest": storable(node.rest),
        "left_out": node.left_out,
        "settings": settings,
        "finish": finish,
        "steps": packed.steps,
        "scored": packed.scored,
        "prompt": packed.prompt,
        "writer": writer() if node.state == "growing" else None,
    }


def node_of(row: Fields) -> ChatMessage:
    """Return a message from its columns, its tokens packed.

    A growing message whose process is gone counts as stopped.

    Raises:
        ValueError: the columns are not a message.
    """
    state = row["state"]
    if state == "growing" and not grows_elsewhere(row["writer"]):
        state = "stopped"
    if row["role"] not in get_args(Role) or state not in get_args(MessageState):
        raise ValueError("no such message")
    if not all(isinstance(row[name], str) for name in ("content", "rest")):
        raise ValueError("no text")
    if not all(isinstance(row[name], str | None) for name in ("model", "scored_by")):
        raise ValueError("no name of a model")
    if not all(isinstance(row[name], bytes) for name in ("steps", "scored", "prompt")):
        raise ValueError("no packed tokens")
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
        settings=settings_of(_read(row["settings"])),
        finish=finish_of(_read(row["finish"])),
        packed=EncodedTokens(row["steps"], row["scored"], row["prompt"]),
    )


def storable(text: str) -> str:
    """Return a text with unpaired surrogates replaced, which UTF-8 can't encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def settings_fields(settings: SamplingSettings) -> dict[str, Any]:
    return {item.name: getattr(settings, item.name) for item in fields(settings)}


def settings_of(fields: Fields | None) -> SamplingSettings | None:
    """Return sampling settings from JSON values.

    Raises:
        ValueError: the values are not sampling settings.
    """
    if fields is None:
        return None
    try:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return SamplingSettings(**values)
    except (TypeError, LmtuiError) as error:
        raise ValueError("no sampling settings") from error


def finish_fields(finish: GenerationResult) -> dict[str, Any]:
    """Return the result of a generation as JSON values, without what was taken back;
    those of earlier versions have no notice."""
    names = [item.name for item in fields(finish) if item.name != "taken_back"]
    values = {name: getattr(finish, name) for name in names}
    return values if finish.notice else {k: values[k] for k in values if k != "notice"}


def finish_of(fields: Fields | None) -> GenerationResult | None:
    """Return the result of a generation from JSON values.

    Raises:
        ValueError: the values are not such a result.
    """
    if fields is None:
        return None
    seconds = ("prompt_seconds", "seconds", "first_token_seconds")
    texts, numbers = ("piece", "notice"), ("logprob", *seconds)
    kinds = {**dict.fromkeys(texts, str), **dict.fromkeys(numbers, float)}
    try:
        reason = FinishReason(fields["reason"])
        others = {name: value for name, value in fields.items() if name != "reason"}
        values: dict[str, Any] = {
            name: nan if value is None else kinds.get(name, int)(value)
            for name, value in others.items()
        }
        for name in ("first_token_seconds", "guessed_tokens"):
            if fields.get(name) is None:
                values[name] = None
        if fields["logprob"] is None:
            values["logprob"] = None
        return GenerationResult(reason=reason, **values)
    except (TypeError, KeyError, OverflowError) as error:
        raise ValueError("no ending") from error


def _read(text: str | None) -> Fields | None:
    found = None if text is None else json.loads(text)
    if found is not None and not isinstance(found, dict):
        raise ValueError("no object")
    return found


@cache
def writer() -> str:
    """Return the name of this process in a growing message: pid and start time."""
    pid = os.getpid()
    return f"{pid}:{processes.started(pid) or 0.0}"


def grows_elsewhere(name: str | None) -> bool:
    """Return whether the process of this name still runs and is not this one."""
    pid, _, since = (name or "").partition(":")
    try:
        return processes.runs_elsewhere(int(pid), float(since))
    except ValueError:
        return False


def conversation_of(rows: list[sqlite3.Row]) -> Conversation:
    """Return the tree of these rows, repaired where rows are missing.

    A salvaged file may have holes. A message whose parent is lost follows the last one
    kept before it, and a message that led to a lost one leads to its last child.
    """
    nodes: dict[int, ChatMessage] = {}
    chosen: dict[int, int] = {}
    holes = {0}  # messages whose child on the branch is not known
    for node, row in _readable(rows):
        if node.id == 0 and node.role == "system":
            nodes[0] = node
            holes.clear()
        elif node.id > 0 and node.role != "system":
            nodes.setdefault(0, ChatMessage(0, None, "system", ""))
            if node.parent not in nodes:
                node = replace(node, parent=max(nodes))
                holes.add(max(nodes))
            nodes[node.id] = node
        if row["chosen"] is not None:
            chosen[node.id] = row["chosen"]
    nodes.setdefault(0, ChatMessage(0, None, "system", ""))
    links = {a: b for a, b in chosen.items() if b in nodes and nodes[b].parent == a}
    holes = (holes | chosen.keys()) - links.keys()
    for node in nodes.values():
        if node.parent in holes and not node.gone:
            links[node.parent] = node.id
    return Conversation.restored(nodes.values(), links)


def _readable(rows: list[sqlite3.Row]) -> Iterator[tuple[ChatMessage, sqlite3.Row]]:
    for row in rows:
        try:
            yield node_of(dict(row)), row
        except (ValueError, TypeError):
            continue
