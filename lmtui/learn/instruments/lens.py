"""Instrument: the logit lens at one position of a text, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lmtui import notation
from lmtui.engine.lens import LensColumn
from lmtui.engine.protocol import Engine
from lmtui.engine.types import ScoredToken
from lmtui.errors import LmtuiError
from lmtui.learn.figure import Cell, Column, Figure, Table, Words, row
from lmtui.learn.instrument import Instrument, Measurement, Option
from lmtui.learn.instruments.texts import LONGEST, expect, sample_of
from lmtui.text import visible_token


@dataclass(frozen=True, slots=True)
class _Seen:
    """A text, its tokens with the most probable next one as the last, and what every
    layer predicts for each of them but the first."""

    text: str
    tokens: tuple[ScoredToken, ...]
    columns: Mapping[int, LensColumn]


class LensInstrument(Instrument):
    """What the model would answer after each of its layers, for any token of a text or
    for the one after it."""

    NAME = "lens"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("The text at the beginning.")
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "entered": "another text was entered",
        "moved": "another token of the text was looked at",
    }
    ASKS = "Text"
    SLIDES = "the token"
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = ()

    _seen: _Seen | None = None
    _at = 0

    def begin(self) -> Measurement | None:
        self.entered = sample_of(self.material, self.options["text"])
        return self._look(self.entered)

    def enter(self, text: str) -> Measurement | None:
        if not text.strip():
            self.message = "Write a text of a few words."
            return None
        return self._look(text)

    def _look(self, text: str) -> Measurement:
        return Measurement(
            lambda engine, _: look(engine, text),
            self._take,
            words="looking into the layers",
        )

    def _take(self, seen: _Seen) -> None:
        if self._seen is not None and seen.text != self._seen.text:
            self.done.add("entered")
        self._seen, self.message = seen, ""
        self._at = len(seen.tokens) - 1

    def slide(self, by: int) -> Measurement | None:
        if self._seen is not None:
            places = sorted(self._seen.columns)
            place = places.index(self._at) + by
            if 0 <= place < len(places):
                self._at = places[place]
                self.done.add("moved")
        return None

    @property
    def figure(self) -> Figure:
        """The layers, from the last down to the embedding, as in the inspector."""
        if self._seen is None:
            return ()
        seen, column = self._seen, self._seen.columns[self._at]
        token = seen.tokens[self._at]
        name = f"“{visible_token(token.text)}”"
        is_next = self._at == len(seen.tokens) - 1
        which = "the next token" if is_next else f"token {self._at + 1}"
        first = answer_layer(column)
        appears = (
            f"is in front from layer {first} on."
            if first is not None
            else "is not in front, even after the last layer."
        )
        return (
            Words(f"{name}, {which}, {appears}", "strong"),
            _table(column, first),
        )

    @property
    def measured(self) -> str | None:
        """The text whose layers are shown."""
        return None if self._seen is None else self._seen.text


def look(engine: Engine, text: str) -> _Seen:
    """Look into the layers at each token of a text but the first, and at its end.

    Raises:
        LmtuiError: the text is too long, or the model can't be looked into.
    """
    encoding = engine.encode(text)
    if len(encoding.ids) > LONGEST // 4:
        raise LmtuiError(
            "this text is too long here",
            f"{len(encoding.ids):,} tokens",
            f"Write at most {LONGEST // 4} tokens; `lmtui inspect` has a lens for any "
            "length.",
        )
    found = expect(engine, text, top_n=1)
    ids = (*encoding.ids, found.candidates[0].id)
    start = 0 if encoding.prefix else 1
    columns = engine.logit_lens(ids, range(start, len(ids)), prefix=encoding.prefix)
    return _Seen(
        text,
        engine.describe_tokens(ids),
        {column.index: column for column in columns},
    )


def answer_layer(column: LensColumn) -> int | None:
    """Return the first layer from which on the token has rank 1 in every layer; None
    where it has not in the last one."""
    first = None
    for layer in reversed(column.rows):
        if layer.rank != 1:
            break
        first = layer.layer
    return first


def _table(column: LensColumn, first: int | None) -> Table:
    rows = []
    layers = column.rows[::-1]
    for layer in layers:
        best = layer.top[0]
        prob = None if layer.logprob is None else math.exp(layer.logprob)
        rows.append(
            row(
                "start" if layer.layer == 0 else f"{layer.layer}",
                Cell(visible_token(best.text), tone="strong"),
                Cell("", share=best.prob),
                notation.chance(best.prob),
                notation.count(layer.rank),
                notation.chance(prob),
                notation.entropy(layer.entropy),
            )
        )
    columns = (
        Column("layer", right=True),
        Column("first choice"),
        Column("", grows=True),
        Column("p", right=True),
        Column("its rank", right=True),
        Column("its p", right=True),
        Column("entropy", right=True),
    )
    at = next((n for n, layer in enumerate(layers) if layer.layer == first), None)
    return Table("", columns, tuple(rows), at=at)
