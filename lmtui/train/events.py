"""What a training run tells: one frozen value an event, one JSON object a line.

Owns the events and both ways between them and JSON. Knows neither who writes them nor
who looks, and imports no torch. Losses are means in nats a token; times in seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from lmtui.text import safe_json


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def built(kind: Any, value: Any) -> Any:
    """The value of this kind that `plain` has made plain.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is not of this kind.
    """
    if get_origin(kind) in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        kind = next(item for item in get_args(kind) if item is not NoneType)
    if get_origin(kind) is tuple:
        return tuple(built(get_args(kind)[0], item) for item in value)
    if hasattr(kind, "__dataclass_fields__"):
        kinds = _kinds(kind)
        known = kinds.keys() & value.keys()
        return kind(**{name: built(kinds[name], value[name]) for name in known})
    if kind is float:
        return math.nan if value is None else float(value)
    return value


@cache
def _kinds(kind: Any) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}


Ending = Literal["done", "early", "stopped", "failed", "declined"]
"""All steps done; nothing more was won; stopped on request; broken off; not begun."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A file, or a row of one, that is no part of the training."""

    name: ClassVar[str] = "skip"
    path: str
    """From the root of the notes on, with `:LINE` for a row."""
    reason: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of training text, decoded, and whether its loss counts."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, before anything is."""

    name: ClassVar[str] = "plan"
    run: str
    base: str
    method: str
    device: str
    dtype: str
    files: int
    """Files that are read."""
    skipped: int
    documents: int
    """Documents that are trained on; of a file of rows, each row is one."""
    held_out_documents: int
    tokens: int
    """Tokens whose loss counts, in an epoch."""
    held_out_tokens: int
    blocks: int
    steps: int
    """Most optimiser steps."""
    epochs: float
    trainable: int
    """Weights that change."""
    parameters: int
    """Weights in all."""
    memory: int
    """Estimated peak, in bytes."""
    seconds: float
    """Estimated from one timed block."""
    sample: tuple[Piece, ...]
    notes: tuple[str, ...] = ()
    """What the user should know first: no held-out figure, notes that changed."""
    lr: float | None = None
    """Peak learning rate; this and the next are None where nothing is known of it."""
    rank: int | None = None
    """Rank of the adapter's matrices; None for all weights."""
    alpha: int | None = None
    batch: int | None = None
    """Blocks of a step."""
    block: int | None = None
    """Tokens of a block."""
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """The steps begin."""

    name: ClassVar[str] = "start"
    run: str
    steps: int
    resumed_from: int | None = None
    """The step whose checkpoint it goes on from; what came after it is void."""


@dataclass(frozen=True, slots=True)
class Step:
    """An optimiser step was made."""

    name: ClassVar[str] = "step"
    step: int
    epoch: float
    loss: float
    """Mean over the tokens of this step whose loss counts."""
    lr: float
    grad_norm: float
    tokens: int
    """Tokens since the beginning, padding left out."""
    tokens_per_second: float
    eta_seconds: float
    memory: int
    """Bytes that the process, or the device, uses."""


@dataclass(frozen=True, slots=True)
class Eval:
    """The held-out documents were scored."""

    name: ClassVar[str] = "eval"
    step: int
    loss: float
    perplexity: float
    bits_per_byte: float
    best: bool
    """Whether no earlier one was lower."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """How the model goes on, before the training and now."""

    prompt: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The same prompts were continued, greedily."""

    name: ClassVar[str] = "sample"
    step: int
    items: tuple[Continuation, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is complete on the disk."""

    name: ClassVar[str] = "saved"
    step: int


@dataclass(frozen=True, slots=True)
class Doing:
    """Something that takes time began: reading, loading, the report."""

    name: ClassVar[str] = "doing"
    what: str
    share: float | None = None
    """How much of it is done, where that is known."""


@dataclass(frozen=True, slots=True)
class Paused:
    """It waits before the next step, or goes on."""

    name: ClassVar[str] = "paused"
    paused: bool


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the user should know, which stops nothing."""

    name: ClassVar[str] = "warning"
    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Training can't go on; what was saved stays."""

    name: ClassVar[str] = "error"
    title: str
    detail: str
    hint: str


@dataclass(frozen=True, slots=True)
class End:
    """The last event of a process."""

    name: ClassVar[str] = "end"
    finish: Ending
    step: int
    adapter: str | None = None
    """Name of the adapter that was written."""
    best_step: int | None = None
    verdict: str = ""
    """One plain sentence of the report."""


Event = (
    Skip | Plan | Start | Step | Eval | Sample | Saved
    | Doing | Paused | Warned | Failed | End
)  # fmt: skip

_KINDS: Mapping[str, type[Any]] = {kind.name: kind for kind in get_args(Event)}


def to_json(event: Event) -> str:
    """An event as one line of JSON, without its newline."""
    return safe_json(json.dumps(to_fields(event), ensure_ascii=False))


def to_fields(event: Event) -> dict[str, Any]:
    """An event as a JSON object."""
    return {"event": event.name, **plain(event)}


def from_json(line: str) -> Event | None:
    """The event of a line; None for a torn one or one of another version."""
    try:
        values = json.loads(line)
        kind = _KINDS[values.pop("event")]
        event: Event = built(kind, values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return event


def read_events(text: str) -> Iterator[Event]:
    """The events of a whole file; lines that are none are left out."""
    for line in text.split("\n"):  # a text of an event may hold other line ends
        if (event := from_json(line)) is not None:
            yield event
