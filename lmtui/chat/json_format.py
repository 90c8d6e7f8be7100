"""A complete conversation as one line of JSON, and back.

Holds every message that was not deleted, with all branches, ids and numbers. An
imported line is exported again byte for byte. An invalid line is refused as a whole.
Knows no store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.message_codec import (
    checked,
    json_of,
    node_of,
    row_of_json,
    text_of,
)
from lmtui.chat.summary import ConversationMeta
from lmtui.config.settings import THINKING
from lmtui.errors import LmtuiError
from lmtui.text import safe_json

FORMAT, VERSION = "conversation", 1


@dataclass(frozen=True, slots=True)
class Imported:
    conversation: Conversation
    meta: ConversationMeta


def to_json(conversation: Conversation, meta: ConversationMeta) -> str:
    """Return the whole conversation as a line with its newline."""
    chosen = conversation.chosen
    messages = [json_of(n, chosen.get(n.id)) for n in _living(conversation)]
    values = {name: getattr(meta, name) for name in _META}
    if meta.thinking is None:  # lines of older versions are exported unchanged
        del values["thinking"]
    whole = {"lmtui": FORMAT, "version": VERSION, **values, "messages": messages}
    line = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return safe_json(line) + "\n"


def from_json(line: str) -> Imported:
    """Return the conversation of a line.

    Raises:
        LmtuiError: the line holds no conversation, or one of a newer version.
    """
    try:
        value = json.loads(line, parse_constant=_refuse)
        if not isinstance(value, dict) or value.get("lmtui") != FORMAT:
            raise ValueError("this line is not a conversation")
        _require_version(value.get("version"))
        return _imported(value)
    except RecursionError:
        raise _broken("it is nested too deeply") from None
    except KeyError as error:
        raise _broken(f"{error} is missing") from error
    except (ValueError, TypeError, OverflowError, AttributeError) as error:
        raise _broken(str(error)) from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _broken(why: str) -> LmtuiError:
    hint = "Give a file that `lmtui history export` wrote."
    return LmtuiError("this conversation can't be imported", why, hint)


def _require_version(version: object) -> None:
    if isinstance(version, int) and version > VERSION:
        raise LmtuiError(
            "this conversation was exported by a newer lmtui",
            f"version {version}, this program knows {VERSION}",
            "Update lmtui.",
        )
    if version != VERSION:
        raise ValueError("the version is missing")


def _living(conversation: Conversation) -> list[ChatMessage]:
    """Return the messages that are not deleted and do not follow a deleted one."""
    kept: dict[int, ChatMessage] = {}
    for node in conversation.nodes:
        if not node.gone and (node.parent is None or node.parent in kept):
            kept[node.id] = conversation.node(node.id)
    return list(kept.values())


def _imported(fields: Mapping[str, Any]) -> Imported:
    rows = [row_of_json(message) for message in checked(list, fields["messages"])]
    chosen = {row["id"]: row["chosen"] for row in rows if row["chosen"] is not None}
    given = {"thinking": None, **fields}
    meta = ConversationMeta(**{name: read(given[name]) for name, read in _META.items()})
    return Imported(Conversation.restored(map(node_of, rows), chosen), meta)


def _thinking(value: str | None) -> str | None:
    if value not in (None, *THINKING):
        raise ValueError("the value of thinking is unknown")
    return value


def _time(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a time is not a number")
    if not 0 <= value < 1e11:
        raise ValueError("a time is out of range")
    return float(value)


_META: Mapping[str, Callable[[Any], Any]] = {
    "title": text_of,
    "named": bool,
    "pinned": bool,
    "thinking": _thinking,
    "created": _time,
    "updated": _time,
}
"""The fields of `ConversationMeta`, in the order of JSON, and how they are read."""
