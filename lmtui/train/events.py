"""The events of a training: frozen values, written as one JSON object a line.

Losses are means in nats a token, times are in seconds. Knows neither writer nor reader,
and imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from lmtui import records
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
    perplexity: float | None
    """exp of the loss; None where that is too large for a float."""
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

_KINDS: Mapping[str, type[Any]] = {
    "skip": Skip, "plan": Plan, "start": Start, "step": Step, "eval": Eval,
    "sample": Sample, "saved": Saved, "doing": Doing, "paused": Paused,
    "warning": Warned, "error": Failed, "end": End, "pretrain_start": PretrainStart,
    "pretrain_step": PretrainStep,
}  # fmt: skip
"""The events by their names in JSON."""
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_fields(event: Event) -> dict[str, Any]:
    return {"event": _NAMES[type(event)], **records.plain(event)}


def to_json(event: Event) -> str:
    """Return an event as one line of JSON, without its newline."""
    return safe_json(json.dumps(to_fields(event), ensure_ascii=False))


def read_events(lines: Iterable[bytes]) -> list[Event]:
    """Return the events of some lines; one that holds no event is left out: it is torn,
    or of another version."""
    events: list[Event] = []
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, AttributeError):
            values = json.loads(line)
            events.append(records.built(_KINDS[values.pop("event")], values))
    return events
