"""A complete conversation as one line of JSON, and back.

Holds every message that was not deleted, with all branches, ids and numbers. An
imported line is exported again byte for byte. An invalid line is refused as a whole.
Knows no store.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.rows import (
    finish_fields,
    finish_of,
    node_of,
    settings_fields,
    settings_of,
    storable,
)
from lmtui.chat.summary import ConversationMeta
from lmtui.chat.token_codec import (
    BOUNDS,
    FORCED,
    EncodedTokens,
    TokenColumns,
    columns,
    pack_columns,
    pack_prompt,
)
from lmtui.config.settings import THINKING
from lmtui.engine.types import Prompt, ScoredToken, Step
from lmtui.errors import LmtuiError
from lmtui.text import safe_json

FORMAT, VERSION = "conversation", 1
_LARGEST = 2**53  # a JSON reader may round larger integers
_TOKENS = ("ids", "ranks", "pieces", "logprobs", "entropies", "sampled_probs")
_COUNTS = ("ids", "ranks", "pieces", "ranks_above", FORCED)


@dataclass(frozen=True, slots=True)
class Imported:
    conversation: Conversation
    facts: ConversationMeta


def to_json(conversation: Conversation, facts: ConversationMeta) -> str:
    """Return the whole conversation as a line with its newline."""
    nodes = _living(conversation)
    chosen = conversation.chosen
    whole = {
        "lmtui": FORMAT,
        "version": VERSION,
        "title": facts.title,
        "named": facts.named,
        "pinned": facts.pinned,
        "archived": facts.archived,
        # Only where it is set: lines of older versions are exported unchanged.
        **({"thinking": facts.thinking} if facts.thinking else {}),
        "created": facts.created,
        "updated": facts.updated,
        "messages": [_message(node, chosen.get(node.id)) for node in nodes],
    }
    line = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return safe_json(line) + "\n"


def from_json(line: str) -> Imported:
    """Return the conversation of a line.

    Raises:
        LmtuiError: the line holds no conversation, or one of a newer version.
    """
    try:
        found = json.loads(line, parse_constant=_refuse)
        if not isinstance(found, dict) or found.get("lmtui") != FORMAT:
            raise ValueError("this line is not a conversation")
        _require_version(found.get("version"))
        return _imported(found)
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


def _message(node: ChatMessage, chosen: int | None) -> dict[str, Any]:
    prompt, finish, settings = node.prompt, node.finish, node.settings
    return {
        "id": node.id,
        "parent": node.parent,
        "chosen": chosen,
        "role": node.role,
        "content": node.content,
        "state": "stopped" if node.state == "growing" else node.state,
        "model": node.model,
        "settings": settings_fields(settings) if settings else None,
        "finish": _finite(finish_fields(finish)) if finish else None,
        "given": node.given,
        "rest": node.rest,
        "left_out": node.left_out,
        "prompt": _prompt_fields(prompt) if prompt else None,
        "steps": _step_fields(node) if node.steps else None,
        "scored": _token_fields(node.scored) if node.scored else None,
        "scored_by": node.scored_by,
    }


def _prompt_fields(prompt: Prompt) -> dict[str, Any]:
    stops = list(prompt.stop_texts)
    return {"ids": list(prompt.ids), "text": prompt.text, "stop_texts": stops}


def _step_fields(node: ChatMessage) -> dict[str, Any]:
    fields = _token_fields(node.stored_steps)
    if node.prompt is None and not any(fields["ids"]):  # none are known
        fields["ids"] = None
    return fields


def _token_fields(tokens: Sequence[Step] | Sequence[ScoredToken]) -> dict[str, Any]:
    found = columns(tokens)
    bounds = {
        "ranks_above": list(found.ranks_above),
        "entropies_least": _short(found.entropies_least),
        "entropies_most": _short(found.entropies_most),
    }
    return {
        "ids": list(found.ids),
        "bytes": [data.hex() for data in found.spelled()],
        "ranks": list(found.ranks),
        "pieces": list(found.pieces),
        "logprobs": _short(found.logprobs),
        "entropies": _short(found.entropies),
        "sampled_probs": _short(found.sampled_probs),
        # Only where a server lists some tokens, as with thinking above.
        **(bounds if found.ranks_above else {}),
        **({FORCED: list(found.forced)} if found.forced else {}),
    }


def _short(numbers: Sequence[float]) -> list[float | None]:
    """Return float32 numbers with the fewest digits that tell each from every other."""
    return [
        float(f"{number:.9g}") if math.isfinite(number) else None
        for number in array("f", numbers)
    ]


def _finite(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }


def _imported(fields: Mapping[str, Any]) -> Imported:
    nodes = [_node(_table(message)) for message in _list(fields["messages"])]
    chosen = {
        int(message["id"]): _whole(message["chosen"])
        for message in fields["messages"]
        if message["chosen"] is not None
    }
    facts = ConversationMeta(
        _text(fields["title"]),
        named=bool(fields["named"]),
        pinned=bool(fields["pinned"]),
        archived=bool(fields["archived"]),
        thinking=_thinking(fields.get("thinking")),
        created=_time(fields["created"]),
        updated=_time(fields["updated"]),
    )
    return Imported(Conversation.restored(nodes, chosen), facts)


def _node(fields: Mapping[str, Any]) -> ChatMessage:
    content = _text(fields["content"])
    parent = None if fields["parent"] is None else _whole(fields["parent"])
    steps = _tokens(fields["steps"], may_lack_ids=fields["prompt"] is None)
    if steps is not None and sum(steps.pieces) > len(content):
        raise ValueError("the tokens are longer than their message")
    scored = _tokens(fields["scored"])
    row = {
        "id": _whole(fields["id"]),
        "parent": parent,
        "role": fields["role"],
        "content": content,
        "state": fields["state"],
        "gone": False,
        "writer": None,
        "model": _name(fields["model"]),
        "scored_by": _name(fields["scored_by"]),
        "given": _whole(fields["given"]),
        "rest": _text(fields["rest"]),
        "left_out": _whole(fields["left_out"]),
        "settings": None,
        "finish": None,
        "steps": pack_columns(steps) if steps else b"",
        "scored": pack_columns(scored) if scored else b"",
        "prompt": _prompt(fields["prompt"]),
    }
    return replace(
        node_of(row),
        settings=settings_of(fields["settings"]),
        finish=finish_of(fields["finish"]),
        packed=EncodedTokens(row["steps"], row["scored"], row["prompt"]),
    )


def _prompt(value: object) -> bytes:
    if value is None:
        return b""
    table = _table(value)
    ids = tuple(_whole(number) for number in _list(table["ids"]))
    stops = tuple(_text(text) for text in _list(table["stop_texts"]))
    return pack_prompt(Prompt(ids, _text(table["text"]), stops))


def _tokens(value: object, *, may_lack_ids: bool = False) -> TokenColumns | None:
    if value is None:
        return None
    table = _table(value)
    data = [bytes.fromhex(_text(text)) for text in _list(table["bytes"])]
    known = _TOKENS[1:] if may_lack_ids and table["ids"] is None else _TOKENS
    bounds = BOUNDS if BOUNDS[0] in table else ()
    names = (*known, *bounds, *((FORCED,) if FORCED in table else ()))
    lists = {name: _list(table[name]) for name in names}
    lists.setdefault("ids", [0] * len(data))
    if {len(numbers) for numbers in lists.values()} != {len(data)}:
        raise ValueError("the lists of tokens differ in length")
    values: dict[str, Any] = {
        name: [(_whole if name in _COUNTS else _real)(number) for number in numbers]
        for name, numbers in lists.items()
    }
    sizes = [len(each) for each in data]
    return TokenColumns(**values, sizes=sizes, data=b"".join(data))


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a value is not an object")
    return value


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a value is not a list")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a value is not a text")
    return storable(value)


def _name(value: object) -> str | None:
    return None if value is None else _text(value)


def _thinking(value: object) -> str | None:
    if value is None:
        return None
    if (name := _text(value)) not in THINKING:
        raise ValueError("the value of thinking is unknown")
    return name


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a value is not a whole number")
    if not 0 <= value < _LARGEST:
        raise ValueError("a number is out of range")
    return value


def _real(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a value is not a number")
    return float(value)


def _time(value: object) -> float:
    number = _real(value)
    if not 0 <= number < 1e11:
        raise ValueError("a time is out of range")
    return number
