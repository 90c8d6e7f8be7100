"""Adapter cards: `card.json` in an adapter's folder, its fields, reading and writing.

A card may come from anywhere: every field that is read is checked. No absolute path is
written into one.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal, TypeGuard, get_args

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.notation import rate

FILE = "card.json"

AdapterKind = Literal["lora", "full", "scratch"]
"""`lora`: two low-rank matrices beside each of the model's own; `full`: all weights,
trained further; `scratch`: all weights, trained from random ones."""

_LONGEST = 50_000_000  # bytes: a manifest names every training file
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


def write_card(folder: Path, card: Card) -> None:
    """Write the card of the adapter in `folder`, atomically.

    Raises:
        ValueError: it holds an absolute path, or a number that JSON can't hold.
    """
    for written in (card.base.spec, *(file.path for file in card.data.files)):
        if _is_a_place(written):
            raise ValueError(f"a card names no place on this machine: {written}")
    text = json.dumps(asdict(card), allow_nan=False, indent=1)
    paths.write_atomically(folder / FILE, text.encode())


def read_card(folder: Path) -> Card | None:
    """Return the card of the adapter in `folder`; None where it has none."""
    file = folder / FILE
    try:
        if file.stat().st_size > _LONGEST:
            raise ValueError("it is too large")
        return _card(json.loads(file.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise LmtuiError(
            "this adapter's card can't be read",
            f"{file}: {error}",
            "Copy the adapter again, with all its files.",
        ) from error


def _is_a_place(text: str) -> bool:
    return PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()


def _card(value: object) -> Card:
    card = _table(value, "it")
    kind = card.get("kind")
    if not _is_kind(kind):
        raise ValueError(f"{kind!r} is not a kind of adapter")
    created = _text(card, "created")
    datetime.fromisoformat(created)
    metrics = _table(card.get("metrics"), "metrics")
    return Card(
        name=_text(card, "name"),
        kind=kind,
        created=created,
        base=_base(_table(card.get("base"), "base")),
        data=_data(_table(card.get("data"), "data")),
        settings=_table(card.get("settings"), "settings"),
        versions={
            str(name): str(version)
            for name, version in _table(card.get("versions"), "versions").items()
        },
        metrics=Metrics(
            before=_figures(metrics, "before"),
            after=_figures(metrics, "after"),
            neutral_before=_figures(metrics, "neutral_before"),
            neutral_after=_figures(metrics, "neutral_after"),
            best_step=_count(metrics, "best_step"),
            steps=_count(metrics, "steps"),
            window=_count({"window": 0, **metrics}, "window"),
        ),
    )


def _is_kind(value: object) -> TypeGuard[AdapterKind]:
    return value in get_args(AdapterKind)


def _base(base: Mapping[str, Any]) -> Base:
    digests = base.get("sha256")
    if not isinstance(digests, list) or not all(map(_is_digest, digests)):
        raise ValueError("base.sha256 is not a list of SHA-256 digests")
    return Base(_text(base, "name"), _text(base, "spec"), tuple(digests))


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= _HEX


def _data(data: Mapping[str, Any]) -> Data:
    files = data.get("files")
    if not isinstance(files, list):
        raise ValueError("data.files is not a list")
    tables = [_table(file, "a file") for file in files]
    return Data(
        files=tuple(
            DataFile(_text(file, "path"), _text(file, "sha256"), _count(file, "bytes"))
            for file in tables
        ),
        documents=_count(data, "documents"),
        held_out=_count(data, "held_out"),
        tokens=_count(data, "tokens"),
    )


def _figures(metrics: Mapping[str, Any], key: str) -> CardMetrics | None:
    if metrics.get(key) is None:
        return None
    return {
        str(name): value if value is None else _number(value, f"{key}.{name}")
        for name, value in _table(metrics[key], key).items()
    }


def _table(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is not an object")
    return value


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is not a text")
    return value


def _count(table: Mapping[str, Any], key: str) -> int:
    value = table.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} is not a count")
    return value


def _number(value: object, what: str) -> float:
    number = None if isinstance(value, bool) else value
    if isinstance(number, int | float) and math.isfinite(number):
        return number
    raise ValueError(f"{what} is not a number")
