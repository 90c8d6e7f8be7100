"""A message as a row of the store and as an object of JSON, and back.

The columns `json` and `tokens` of a row, the second compressed, hold together the
object that an export has. Checks every value, since a file may be damaged or foreign.
Knows no store.
"""

from __future__ import annotations

import json
import math
import os
import sqlite3
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ValidationError, model_validator

from lmtui import processes
from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage, MessageState
from lmtui.chat.summary import ConversationMeta, Count, Time
from lmtui.chat.tokens import Record, TokenColumns, Whole
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Prompt,
    Role,
)
from lmtui.errors import LmtuiError
from lmtui.records import words_of
from lmtui.text import safe_json

FORMAT, VERSION = "conversation", 1
_LEVEL = 1  # the fastest; the best takes a tenth less room and nine times as long

Seconds = Annotated[
    float, BeforeValidator(lambda value: math.nan if value is None else value)
]
"""None where no time was taken."""


class Ending(Record):
    """What is kept of a `GenerationResult`."""

    reason: FinishReason
    tokens: int
    logprob: float | None
    prompt_tokens: int
    reused_tokens: int
    prompt_seconds: Seconds
    seconds: Seconds
    seed: int
    piece: str = ""
    first_token_seconds: float | None = None
    guessed_tokens: int | None = None
    notice: str = ""


class MessageRecord(Record):
    """A `ChatMessage` without its tokens."""

    id: Count
    parent: Count | None
    role: Role
    content: str
    state: MessageState
    model: str | None
    settings: dict[str, Any] | None
    finish: Ending | None
    given: Count
    rest: str
    left_out: Count
    scored_by: str | None


class PromptRecord(Record):
    ids: list[Whole]
    text: str
    stop_texts: list[str]

    @property
    def prompt(self) -> Prompt:
        return Prompt(tuple(self.ids), self.text, tuple(self.stop_texts))


class TokenRecord(Record):
    """The tokens of a `ChatMessage`."""

    prompt: PromptRecord | None
    steps: TokenColumns | None
    scored: TokenColumns | None


class MessageLine(MessageRecord, TokenRecord):
    """A message of an export."""

    chosen: Count | None

    @model_validator(mode="after")
    def _is_spelled(self) -> MessageLine:
        steps = self.steps
        if steps and sum(steps.pieces) > len(self.content):
            raise ValueError("the tokens are longer than their message")
        if steps and self.prompt and steps.ids is None:
            raise ValueError("the tokens have no ids")
        return self


class ConversationLine(Record):
    """A whole conversation in a line of JSON, without its deleted messages."""

    lmtui: Literal["conversation"]
    version: Literal[1]
    title: str
    named: bool
    pinned: bool
    thinking: Literal["on", "off", "auto"] | None = None
    created: Time
    updated: Time
    messages: list[MessageLine]


def storable(text: str) -> str:
    """Return a text with unpaired surrogates replaced, which UTF-8 can't encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def row_of(node: ChatMessage) -> dict[str, Any]:
    """Return a message as the columns of its row, `chosen` apart; a growing one is
    marked as this process's."""
    values = {name: getattr(node, name) for name in MessageRecord.model_fields}
    values["content"], values["rest"] = storable(node.content), storable(node.rest)
    if node.settings is not None:
        values["settings"] = {
            field.name: getattr(node.settings, field.name)
            for field in fields(SamplingSettings)
        }
    if node.finish is not None:
        kept = {name: getattr(node.finish, name) for name in Ending.model_fields}
        values["finish"] = Ending.model_construct(**kept)
    return {
        "id": node.id,
        "parent": node.parent,
        "gone": node.gone,
        "writer": _writer() if node.state == "growing" else None,
        "json": MessageRecord.model_construct(**values).model_dump_json(),
        "tokens": _packed(node) if node.packed is None else node.packed,
    }


def _packed(node: ChatMessage) -> bytes:
    prompt = node.prompt
    if not (prompt or node.steps or node.scored):
        return b""
    return compressed(
        {
            # Without a prompt the ids are only an engine's own.
            "steps": TokenColumns.of(node.steps, with_ids=prompt is not None),
            "scored": TokenColumns.of(node.scored),
            "prompt": prompt
            and {
                "ids": prompt.ids,
                "text": storable(prompt.text),
                "stop_texts": list(map(storable, prompt.stop_texts)),
            },
        }
    )


def compressed(tokens: Mapping[str, Any]) -> bytes:
    """Return the values of a `TokenRecord` as the column `tokens`."""
    text = TokenRecord.model_construct(**tokens).model_dump_json(
        exclude_unset=True, warnings=False
    )
    return zlib.compress(text.encode(), _LEVEL)


def node_of(row: sqlite3.Row | Mapping[str, Any]) -> ChatMessage:
    """Return a message from the columns of its row, its tokens packed.

    A growing message whose process is gone counts as stopped.

    Raises:
        ValueError: the columns are not a message.
    """
    record = MessageRecord.model_validate_json(row["json"])
    state = record.state
    if state == "growing" and not _grows_elsewhere(row["writer"]):
        state = "stopped"
    return replace(_message(record, row["tokens"]), state=state, gone=bool(row["gone"]))


def _message(record: MessageRecord, packed: bytes) -> ChatMessage:
    values = {name: getattr(record, name) for name in MessageRecord.model_fields}
    if record.settings is not None:
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record.settings.items()
        }
        try:
            values["settings"] = SamplingSettings(**settings)
        except (TypeError, LmtuiError) as error:
            raise ValueError("no sampling settings") from error
    if record.finish is not None:
        values["finish"] = GenerationResult(**dict(record.finish))
    return ChatMessage(**values, packed=packed)


def opened(node: ChatMessage) -> ChatMessage:
    """Return a message with its tokens unpacked; without them if they are damaged."""
    if node.packed is None:
        return node
    bare = replace(node, packed=None)
    if not node.packed:
        return bare
    try:
        tokens = TokenRecord.model_validate_json(zlib.decompress(node.packed))
        return replace(
            bare,
            steps=tokens.steps.steps(node.content) if tokens.steps else (),
            scored=tokens.scored.scored() if tokens.scored else (),
            prompt=tokens.prompt.prompt if tokens.prompt else None,
        )
    except (ValueError, zlib.error):
        return replace(bare, scored_by=None, given=0)


def to_json(conversation: Conversation, meta: ConversationMeta) -> str:
    """Return the whole conversation as a line with its newline."""
    facts = {
        field.name: getattr(meta, field.name) for field in fields(ConversationMeta)
    }
    kept: dict[int, dict[str, Any]] = {}
    for node in conversation.nodes:  # what follows a deleted message goes with it
        if not node.gone and (node.parent is None or node.parent in kept):
            chosen = conversation.chosen.get(node.id)
            kept[node.id] = {"chosen": chosen, **_written(node)}
    whole = {"lmtui": FORMAT, "version": VERSION, **facts,
             "messages": list(kept.values())}  # fmt: skip
    line = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return safe_json(line) + "\n"


def _written(node: ChatMessage) -> dict[str, Any]:
    row = row_of(node)
    values: dict[str, Any] = json.loads(row["json"])
    if node.state == "growing":
        values["state"] = "stopped"
    packed = zlib.decompress(row["tokens"]) if row["tokens"] else b"{}"
    tokens = json.loads(packed, parse_constant=lambda _: None)  # an infinite number
    return values | {name: tokens.get(name) for name in TokenRecord.model_fields}


def from_json(line: str) -> tuple[Conversation, ConversationMeta]:
    """Return the conversation of a line.

    Raises:
        LmtuiError: the line holds no conversation, or one of a newer version.
    """
    try:
        whole = ConversationLine.model_validate_json(line)
        nodes = [_message(each, _tokens_of(each)) for each in whole.messages]
        chosen = {m.id: m.chosen for m in whole.messages if m.chosen is not None}
        conversation = Conversation.restored(nodes, chosen)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"] == ("version",) and type(first["input"]) is int:
            raise LmtuiError(
                "this conversation was exported by a newer lmtui",
                f"version {first['input']}, this program knows {VERSION}",
                "Update lmtui.",
            ) from None
        raise _broken(words_of(error)) from error
    except ValueError as error:
        raise _broken(str(error)) from error
    meta = {
        field.name: getattr(whole, field.name) for field in fields(ConversationMeta)
    }
    return conversation, ConversationMeta(**meta)


def _tokens_of(line: MessageLine) -> bytes:
    tokens = {name: getattr(line, name) for name in TokenRecord.model_fields}
    return compressed(tokens) if any(tokens.values()) else b""


def _broken(why: str) -> LmtuiError:
    hint = "Give a file that `lmtui history export` wrote."
    return LmtuiError("this conversation can't be imported", why, hint)


@cache
def _writer() -> str:
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
