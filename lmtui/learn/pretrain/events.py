"""The events of a pretraining: frozen values, written as one JSON object a line.

Losses are means in nats a byte, which is a token here; times are in seconds since the
beginning of the first step. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from lmtui.engine.types import Candidate, Distribution
from lmtui.text import bytes_text, visible, visible_token
from lmtui.train.events import Failed, event_of

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

    def passed_by(self, loss: float) -> tuple[LineName, ...]:
        """Return the names of the lines that a held-out loss is below."""
        return tuple(name for name in get_args(LineName) if loss < getattr(self, name))


@dataclass(frozen=True, slots=True)
class Started:
    """Model, text and reference lines are ready; the snapshot of step 0 follows."""

    name: ClassVar[str] = "started"
    parameters: int
    """Number of weights, all of them random."""
    vocabulary: int
    """V: the number of different bytes, 256."""
    training_bytes: int
    held_out_bytes: int
    """Bytes of the held-out part whose loss counts; the first has no context and does
    not count."""
    lines: ReferenceLines
    seconds: float | None
    """Time until the end; None where the number of steps is given."""
    steps: int | None
    """Steps until the end; None where the time is given."""
    remark: str = ""
    """Why the bigram's line may not be passed; empty where the text is large enough."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """Optimiser steps were made; at most about ten such events are sent a second."""

    name: ClassVar[str] = "stepped"
    step: int
    """The last of them."""
    seconds: float
    losses: tuple[float, ...]
    """Training loss of each step since the last event, in order: the mean over the
    batch."""
    tokens: int
    """Bytes that were trained on since the first step, with repetitions."""

    @property
    def loss(self) -> float:
        """The mean training loss of these steps."""
        return math.fsum(self.losses) / len(self.losses)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The held-out bytes were scored."""

    name: ClassVar[str] = "evaluated"
    step: int
    seconds: float
    loss: float


@dataclass(frozen=True, slots=True)
class Passed:
    """An evaluation after a step was below a reference line, for the first time."""

    name: ClassVar[str] = "passed"
    line: LineName
    step: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ByteProb:
    bytes: str
    """The byte in hexadecimal."""
    prob: float
    """Probability at temperature 1, of all 256 bytes."""

    @property
    def text(self) -> str:
        """The byte for a terminal: a space is drawn, a part of a character shows as
        `⟨E3⟩`."""
        return visible_token(bytes_text(bytes.fromhex(self.bytes)))


@dataclass(frozen=True, slots=True)
class NextBytes:
    """The most probable next bytes after a fixed prompt."""

    prompt: str
    """The bytes of the prompt in hexadecimal."""
    rows: tuple[ByteProb, ...]
    """The ten most probable bytes, the most probable first."""
    rest: float
    """Probability of all other bytes together."""
    entropy: float
    """Entropy of all 256 probabilities, in nats."""

    @property
    def prompt_text(self) -> str:
        """The prompt for a terminal."""
        return visible(bytes_text(bytes.fromhex(self.prompt)))

    @property
    def distribution(self) -> Distribution:
        """The same as the probability panel shows it; nothing is cut."""
        rows = (bytes.fromhex(row.bytes) for row in self.rows)
        return Distribution(
            candidates=tuple(
                Candidate(
                    data[0],
                    bytes_text(data),
                    data,
                    math.log(row.prob) if row.prob > 0 else -math.inf,
                    row.prob,
                )
                for data, row in zip(rows, self.rows, strict=True)
            ),
            start=0,
            vocabulary=256,
            rest_prob=self.rest,
            rest_sampled_prob=self.rest,
            remaining=256,
            remaining_prob=1.0,
            entropy=self.entropy,
            handle=0,
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The model at one step: its held-out loss, a sample, and the same bars as ever."""

    name: ClassVar[str] = "snapshot"
    step: int
    seconds: float
    loss: float
    prompt: str
    """The bytes that the sample continues, in hexadecimal."""
    sample: str
    """The bytes drawn, in hexadecimal: at temperature 0.8, with the same random numbers
    in every snapshot, so that only the model differs."""
    rows: tuple[NextBytes, ...]

    @property
    def prompt_text(self) -> str:
        """The prompt for a terminal."""
        return visible(bytes_text(bytes.fromhex(self.prompt)))

    @property
    def sample_text(self) -> str:
        """The sample for a terminal; bytes that are no character show as `⟨E3 81⟩`."""
        return visible(bytes_text(bytes.fromhex(self.sample)))


@dataclass(frozen=True, slots=True)
class Finished:
    """The last step is made; the last event."""

    name: ClassVar[str] = "finished"
    step: int
    seconds: float
    loss: float
    """Held-out loss at the end."""
    best_loss: float
    """The least held-out loss; where it is clearly less than the last one, the model
    has learned the training part by heart since."""
    best_step: int
    epochs: float
    """How often the training part was read, on average."""


Event = Started | Stepped | Evaluated | Passed | Snapshot | Finished | Failed

_KINDS: Mapping[str, type[Any]] = {kind.name: kind for kind in get_args(Event)}


def from_json(line: str) -> Event | None:
    """Return the event of a line that `lmtui.train.events.to_json` wrote; None for a
    line that holds none."""
    event: Event | None = event_of(line, _KINDS)
    return event
