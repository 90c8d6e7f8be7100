"""Adapter cards: `card.json` in an adapter's folder, its fields, and reading.

A card may come from anywhere: every field that is read is checked. No absolute path
stands in one.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from lmtui import records
from lmtui.notation import rate

FILE = "card.json"

AdapterKind = Literal["lora", "full", "scratch"]
"""`lora`: two low-rank matrices beside each of the model's own; `full`: all weights,
trained further; `scratch`: all weights, trained from random ones."""

_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Base:
    name: str
    """The name to display."""
    spec: str
    """The value for `--model`: a catalogue name or a Hub id; only the name of a file or
    folder."""
    sha256: tuple[str, ...]
    """The SHA-256 of each weights file, in the order of their names."""


@dataclass(frozen=True, slots=True)
class DataFile:
    path: str
    """Relative to the root of the training files."""
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Data:
    files: tuple[DataFile, ...]
    documents: int
    """The number of documents that were trained on."""
    held_out: int
    """The number of held-out documents."""
    tokens: int
    """The number of tokens per epoch whose loss counted."""


CardMetrics = Mapping[str, float | None]
"""Measures of one text under one model: `loss` in nats per token, `perplexity`,
`bits_per_byte`, …; None where there is none."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """The results of a training run; None where nothing could be measured."""

    before: CardMetrics | None = None
    """On the held-out documents, before the training."""
    after: CardMetrics | None = None
    """The same, after the training."""
    neutral_before: CardMetrics | None = None
    """On a text that is unrelated to the training data."""
    neutral_after: CardMetrics | None = None
    best_step: int = 0
    """The step whose weights were kept."""
    steps: int = 0
    window: int = 0
    """The window, in tokens, that the documents were scored in, with half of it as the
    stride; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class Card:
    """Everything known about an adapter without its weights."""

    name: str
    kind: AdapterKind
    created: str
    """ISO 8601, with the UTC offset."""
    base: Base
    data: Data
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    """The versions of the packages that were used."""
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.created)
        metrics, notes = self.metrics, self.data
        counts = [file.bytes for file in notes.files]
        counts += metrics.best_step, metrics.steps, metrics.window
        counts += notes.documents, notes.held_out, notes.tokens
        if min(counts) < 0:
            raise ValueError(f"{min(counts)} is not a count")
        for digest in self.base.sha256:
            if len(digest) != 64 or not set(digest) <= _HEX:
                raise ValueError("base.sha256 is not a list of SHA-256 digests")
        for measured in (metrics.before, metrics.after, metrics.neutral_before,
                         metrics.neutral_after):  # fmt: skip
            if not all(map(math.isfinite, filter(None, (measured or {}).values()))):
                raise ValueError("a measure is not a finite number")

    @property
    def day(self) -> str:
        """The date of the training: `2026-07-14`."""
        return self.created[:10]

    @property
    def held_out(self) -> str:
        """The held-out loss before and after, in nats per token: `3.21 → 2.87`; empty
        where it was not measured."""
        before, after = self.metrics.before or {}, self.metrics.after or {}
        losses = before.get("loss"), after.get("loss")
        if losses[0] is None or losses[1] is None:
            return ""
        return f"{rate(losses[0])} → {rate(losses[1])}"


def inspect_command(name: str, kind: AdapterKind, window: int) -> str:
    """Return the command that shows the figures of one held-out document again."""
    how = "--against-adapter" if kind == "lora" else "--adapter"
    windows = f"--window {window} --stride {max(1, window // 2)}"
    return f"lmtui inspect FILE {how} {shlex.quote(name)} {windows}"


def read_card(folder: Path) -> Card | None:
    """Return the card of the adapter in `folder`; None where it has none."""
    file = folder / FILE
    if not file.exists():
        return None
    title = "this adapter's card can't be read"
    hint = "Copy the adapter again, with all its files."
    return records.read(file, Card, title=title, hint=hint, foreign=True)
