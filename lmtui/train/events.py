"""The events of a training: frozen values, written as one JSON object a line.

The same JSON serves requests, manifests, states and reports: dataclasses of numbers,
texts and tuples. Losses are means in nats a token, times are in seconds. Knows neither
writer nor reader, and imports no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType, UnionType
from typing import (
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from lmtui.text import safe_json

Ending = Literal["done", "early", "stopped", "failed", "declined"]
"""All steps done; stopped early; stopped on request; failed; never begun."""


@dataclass(frozen=True, slots=True)
class Skip:
    """A file, or a row of one, that is left out of the training."""

    path: str
    """Relative to the root of the notes, with `:LINE` for a row."""
    reason: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of training text, decoded, and whether its loss counts."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """The planned training with its estimates, sent before the first step."""

    run: str
    base: str
    method: str
    device: str
    dtype: str
    files: int
    """Number of files that are read."""
    skipped: int
    documents: int
    """Documents that are trained on; a file of rows has one for each row."""
    held_out_documents: int
    tokens: int
    """Tokens of an epoch whose loss counts."""
    held_out_tokens: int
    """Those that count in an evaluation."""
    blocks: int
    steps: int
    """Optimiser steps, at most."""
    epochs: float
    trainable: int
    """Number of trainable weights."""
    parameters: int
    """Number of all weights."""
    memory: int
    """Estimated peak, in bytes."""
    seconds: float
    """Estimated from one timed block."""
    sample: tuple[Piece, ...]
    notes: tuple[str, ...] = ()
    """Remarks for the user: no held-out figure, notes that have changed."""
    lr: float | None = None
    """Peak learning rate; None here and below where the value is not known."""
    rank: int | None = None
    """Rank of the LoRA; None where all weights are trained."""
    alpha: int | None = None
    batch: int | None = None
    """Blocks of an optimiser step."""
    block: int | None = None
    """Tokens of a block."""
    seed: int | None = None
    held_out_end: float | None = None
    """Share of the only document whose end is held out; None where whole documents
    are."""


@dataclass(frozen=True, slots=True)
class Start:
    run: str
    steps: int
    resumed_from: int | None = None
    """The step of the checkpoint resumed from; earlier events after it are void."""


@dataclass(frozen=True, slots=True)
class Step:
    step: int
    epoch: float
    loss: float
    """Mean over the tokens of this step whose loss counts."""
    lr: float
    grad_norm: float
    tokens: int
    """Tokens since the beginning of the training, without padding."""
    tokens_per_second: float
    eta_seconds: float
    memory: int
    """Bytes in use by the process, or on the GPU."""


@dataclass(frozen=True, slots=True)
class Eval:
    """The held-out documents were scored."""

    step: int
    loss: float
    perplexity: float
    bits_per_byte: float
    best: bool
    """Whether this loss is the lowest so far."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A prompt's greedy continuations, by the model before training and now."""

    prompt: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample prompts were continued, greedily."""

    step: int
    items: tuple[Continuation, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint is complete on the disk."""

    step: int


@dataclass(frozen=True, slots=True)
class Doing:
    """A longer piece of work began: reading, loading, the report."""

    what: str
    share: float | None = None
    """The share of it that is done, from 0 to 1; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Paused:
    """The training waits before the next step (True), or continues (False)."""

    paused: bool


@dataclass(frozen=True, slots=True)
class Warned:
    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The training has failed; what was saved stays."""

    title: str
    detail: str
    hint: str


@dataclass(frozen=True, slots=True)
class End:
    """The last event of a process."""

    finish: Ending
    step: int
    adapter: str | None = None
    """Name of the adapter that was written."""
    best_step: int | None = None
    verdict: str = ""
    """One plain sentence of the report."""


LineName = Literal["uniform", "unigram", "bigram", "trigram"]


@dataclass(frozen=True, slots=True)
class ReferenceLines:
    """Held-out losses of models without weights, on the bytes that the transformer is
    scored on; the n-grams are counted in the training part."""

    uniform: float
    """ln V: every byte is equally probable."""
    unigram: float
    bigram: float
    trigram: float


@dataclass(frozen=True, slots=True)
class PretrainStart:
    """A model of random weights is ready to be trained; a token is a byte."""

    parameters: int
    training_bytes: int
    lines: ReferenceLines


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the model writes and predicts at one step; bytes are in hexadecimal."""

    prompt: str
    sample: str
    """Bytes drawn after the prompt, with the same random numbers at every step, so that
    only the model differs."""
    context: str
    """The bytes after which the next one is predicted."""
    top_bytes: str
    """The most probable next bytes, the most probable first."""
    top_probs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PretrainStep:
    """Optimiser steps were made, or the held-out bytes were scored."""

    step: int
    seconds: float
    """Seconds since the first step began."""
    tokens: int
    """Bytes that were trained on since then, with repetitions."""
    losses: tuple[float, ...] = ()
    """Training loss of each step since the last event, in order."""
    held_out: float | None = None
    """Held-out loss; None where the step was not evaluated."""
    snapshot: Snapshot | None = None


Event = (
    Skip | Plan | Start | Step | Eval | Sample | Saved
    | Doing | Paused | Warned | Failed | End | PretrainStart | PretrainStep
)  # fmt: skip

_NAMES: Mapping[type[Any], str] = {
    Skip: "skip", Plan: "plan", Start: "start", Step: "step", Eval: "eval",
    Sample: "sample", Saved: "saved", Doing: "doing", Paused: "paused",
    Warned: "warning", Failed: "error", End: "end", PretrainStart: "pretrain_start",
    PretrainStep: "pretrain_step",
}  # fmt: skip
"""The name of each event in JSON."""
_KINDS = {name: kind for kind, name in _NAMES.items()}


def plain(value: Any) -> Any:
    """Return a value in JSON's types; NaN and infinity become None."""
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def built(kind: Any, value: Any) -> Any:
    """Rebuild the value of a type from what `plain` returned.

    Keys that a dataclass does not have are left out: files of other versions can be
    read.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: the value is not of this type.
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
def _kinds(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}


def to_fields(event: Event) -> dict[str, Any]:
    return {"event": _NAMES[type(event)], **plain(event)}


def to_json(event: Event) -> str:
    """Return an event as one line of JSON, without its newline."""
    return safe_json(json.dumps(to_fields(event), ensure_ascii=False))


def from_json(line: str) -> Event | None:
    """Return the event of a line; None for a torn one or one of another version."""
    try:
        values = json.loads(line)
        event: Event = built(_KINDS[values.pop("event")], values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return event


def read_events(text: str) -> Iterator[Event]:
    """Yield the events of a whole file; lines that hold no event are left out."""
    for line in text.split("\n"):  # an event's text may hold other line separators
        if (event := from_json(line)) is not None:
            yield event
