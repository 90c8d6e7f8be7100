"""Instrument: the logit lens at one position of a text, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lmtui import notation
from lmtui.engine.lens import LensColumn
from lmtui.engine.protocol import Engine
from lmtui.engine.types import ScoredToken
from lmtui.learn.figure import BAR, Cell, Figure, Table, Words, numbers, table
from lmtui.learn.instrument import Measurement, Options
from lmtui.learn.instruments.texts import (
    LONGEST,
    TextInstrument,
    encoded,
    expect,
    prob,
)
from lmtui.text import visible_token


@dataclass(frozen=True, slots=True)
class _Layers:
    """A text, its tokens with the most probable next one as the last, and what every
    layer predicts for each of them but the first."""

    text: str
    tokens: tuple[ScoredToken, ...]
    columns: Mapping[int, LensColumn]


class LensInstrument(TextInstrument):
    """What the model would answer after each of its layers, for any token of a text or
    for the one after it."""

    NAME = "lens"
    OPTIONS: ClassVar[Options] = {"text": ""}
    ASKS = "Text"
    SLIDES = "the token"
    WORDS = "looking into the layers"

    _shown: _Layers | None = None
    _at = 0

    def read(self, engine: Engine, text: str) -> _Layers:
        """Look into the layers at each token of a text but the first, and at its
        end."""
        encoding = encoded(engine, text, LONGEST // 4)
        ids = (*encoding.ids, expect(engine, text, top_n=1).candidates[0].id)
        start = 0 if encoding.prefix else 1
        columns = engine.logit_lens(ids, range(start, len(ids)), prefix=encoding.prefix)
        by_index = {column.index: column for column in columns}
        return _Layers(text, engine.describe_tokens(ids), by_index)

    def show(self, result: _Layers) -> None:
        super().show(result)
        self._at = len(result.tokens) - 1

    def slide(self, by: int) -> Measurement | None:
        if self._shown is not None and self._at + by in self._shown.columns:
            self._at += by
            self.done.add("moved")
        return None

    @property
    def figure(self) -> Figure:
        if self._shown is None:
            return ()
        tokens, column = self._shown.tokens, self._shown.columns[self._at]
        is_next = self._at == len(tokens) - 1
        which = "the next token" if is_next else f"token {self._at + 1}"
        first = answer_layer(column)
        appears = (
            f"is in front from layer {first} on."
            if first is not None
            else "is not in front, even after the last layer."
        )
        name = visible_token(tokens[self._at].text)
        return (Words(f"“{name}”, {which}, {appears}", "strong"), _table(column, first))


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
    layers = column.rows[::-1]
    rows = (
        (
            f"{layer.layer or 'start'}",
            Cell(visible_token(layer.top[0].text), "strong"),
            Cell(bar=(layer.top[0].prob,)),
            notation.chance(layer.top[0].prob),
            notation.count(layer.rank),
            notation.chance(prob(layer.logprob)),
            notation.entropy(layer.entropy),
        )
        for layer in layers
    )
    heads = numbers("p", "its rank", "its p", "entropy")
    at = next((n for n, layer in enumerate(layers) if layer.layer == first), None)
    return table((*numbers("layer"), "first choice", BAR, *heads), rows, at=at)
