"""A `.jsonl` file: one training example a row.

Owns the three kinds of rows (`messages`, `prompt` with `completion`, `text`), which a
file may mix, and why a row can't be used. Knows no files and no tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any, get_args

from lmtui.engine.types import Message, Role


@dataclass(frozen=True, slots=True)
class Completion:
    """A prompt, which is given, and how it goes on, which is learned."""

    prompt: str
    completion: str


Content = str | Completion | tuple[Message, ...]
"""A text, a prompt with its completion, or a conversation."""

_KINDS = (("messages",), ("prompt", "completion"), ("text",))
"""What tells the kinds of rows apart; the first that a row has is its kind."""

_SHOWN = 40  # code points of an unknown role


@dataclass(frozen=True, slots=True)
class Row:
    """A line that holds an example, or can't be used."""

    line: int
    """From 1 on, empty lines counted."""
    content: Content | None
    problem: str = ""
    """Why it can't be used."""


class _Unusable(Exception):
    """Why a row can't be used."""


def read_rows(text: str) -> Iterator[Row]:
    """The rows of a file, in order; empty lines are none."""
    # Only a newline ends a line of JSON: strings can hold the other separators.
    for number, line in enumerate(StringIO(text, newline="\n"), 1):
        if not line.strip():
            continue
        try:
            values = _object(line.rstrip("\n"))
            yield Row(number, _content(values, _kind_of(values)))
        except _Unusable as problem:
            yield Row(number, None, str(problem))


def _object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise _Unusable(f"not JSON: {error.msg}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise _Unusable(f"not JSON that can be read: {error}") from None
    if not isinstance(values, dict):
        raise _Unusable("not a JSON object")
    return values


def _kind_of(values: dict[str, Any]) -> tuple[str, ...]:
    for kind in _KINDS:
        if all(key in values for key in kind):
            return kind
    raise _Unusable("neither messages, nor prompt and completion, nor text")


def _content(values: dict[str, Any], kind: tuple[str, ...]) -> Content:
    if kind == ("messages",):
        return _messages(values["messages"])
    texts = [_text(values[key], key) for key in kind]
    if not texts[-1].strip():
        raise _Unusable(f"{kind[-1]} is empty")
    return texts[0] if len(texts) == 1 else Completion(*texts)


def _messages(turns: Any) -> tuple[Message, ...]:
    if not isinstance(turns, list):
        raise _Unusable("messages is not a list")
    messages = tuple(_message(turn, place) for place, turn in enumerate(turns, 1))
    learned = (m.content for m in messages if m.role == "assistant")
    if not any(content.strip() for content in learned):
        raise _Unusable("no assistant message to learn from")
    return messages


def _message(turn: Any, place: int) -> Message:
    if not isinstance(turn, dict):
        raise _Unusable(f"message {place} is not a JSON object")
    role, content = turn.get("role"), turn.get("content")
    if not isinstance(role, str):
        raise _Unusable(f"message {place} has no role")
    known = next((known for known in get_args(Role) if known == role), None)
    if known is None:
        shown = json.dumps(role[:_SHOWN])
        raise _Unusable(f"message {place} has the unknown role {shown}")
    return Message(known, _text(content, f"the content of message {place}"))


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _Unusable(f"{what} is not a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _Unusable(f"{what} has an unpaired UTF-16 surrogate") from None
    return value
