"""Instrument: from logits to probabilities at a temperature, and draws from them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import Candidate
from lmtui.learn.chi_square import ChiSquare, chi_square
from lmtui.learn.figure import (
    BAR,
    Cell,
    Column,
    Figure,
    Table,
    Words,
    numbers,
    table,
)
from lmtui.learn.instrument import Material, Measurement, Options
from lmtui.learn.instruments.texts import TextInstrument, excerpt, expect
from lmtui.models.remote.wire import LOGIT_BYTES
from lmtui.text import visible_token

TEMPERATURES = (5.0, 3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
"""Steps of the slider, from flat to sharp: confidence rises as T falls."""
_STEP = 3  # cells between two steps of the drawn slider
_COLD, _HOT = 0.5, 2.0
"""The exercise `slid` asks for a temperature below the first, and one above the
second."""
_DRAWS = 1000
_MANY = 3 * _DRAWS
_TOKEN = 14  # characters of a token's text


@dataclass(frozen=True, slots=True)
class _Logits:
    """Raw logits after a text, and its most probable tokens."""

    text: str
    data: bytes
    """float32 [V], as the engine gives them."""
    values: Sequence[float]
    """The same as numbers."""
    rows: tuple[Candidate, ...]
    top_logprobs: int | None
    """Number of tokens of which a server tells the probability."""


class SoftmaxInstrument(TextInstrument):
    """Logits ÷ T → exp → ÷ Σ in columns while the slider moves T; draws are counted
    beside what is expected."""

    NAME = "softmax"
    OPTIONS: ClassVar[Options] = {
        "text": "",  # the text at the beginning
        "rows": 6,  # number of tokens with a row
        "seed": 1,  # seed of the first draws; later ones count on
    }
    ACTIONS: ClassVar[Mapping[str, str]] = {"draw": "draw 1,000", "clear": "clear"}
    ASKS = "Text"
    LIVE = True
    SLIDES = "confidence"

    _shown: _Logits | None = None
    _weights: Sequence[float] = ()
    """exp((logit − the greatest) ÷ T) of the rows, then of all others together. The
    greatest logit is taken off first, which changes no probability, so that no
    exponential overflows."""
    _temperature_index = TEMPERATURES.index(1.0)
    _thousands = 0  # that were drawn; the next seed follows from it

    def __init__(self, options: Options, material: Material) -> None:
        super().__init__(options, material)
        self._counts: Counter[int] = Counter()
        """How often each token was drawn."""
        self._extremes: set[str] = set()

    @property
    def _temperature(self) -> float:
        return TEMPERATURES[self._temperature_index]

    def read(self, engine: Engine, text: str) -> _Logits:
        after = expect(engine, text, top_n=self.options["rows"])
        data = engine.logits_at(after.handle)
        values = np.frombuffer(data, dtype="<f4").tolist()
        return _Logits(text, data, values, after.candidates, after.top_logprobs)

    def show(self, result: _Logits) -> None:
        if self._shown is None or result.text != self._shown.text:
            super().show(result)
            self._compute(result)
        self.message = ""

    def slide(self, by: int) -> Measurement | None:
        before = self._temperature_index
        self._temperature_index = min(len(TEMPERATURES) - 1, max(0, before + by))
        self.message = ""
        if self._temperature_index == before:
            words = "greatest" if by < 0 else "least"
            self.message = f"This is the {words} temperature here."
        elif self._shown is not None:
            self._compute(self._shown)
        return None

    def act(self, action: str) -> Measurement | None:
        if action == "draw":
            return self._draw()
        self._counts.clear()
        self.message = ""
        return None

    def _compute(self, logits: _Logits) -> None:
        """Compute the columns; what was drawn before came from another
        distribution."""
        temperature, greatest = self._temperature, max(logits.values)
        exps = [math.exp((z - greatest) / temperature) for z in logits.values]
        rows = [exps[row.id] for row in logits.rows]
        self._weights = (*rows, max(0.0, math.fsum(exps) - math.fsum(rows)))
        self._counts.clear()
        if temperature < _COLD:
            self._extremes.add("cold")
        elif temperature > _HOT:
            self._extremes.add("hot")
        if len(self._extremes) == 2:
            self.done.add("slid")

    def _draw(self) -> Measurement | None:
        logits, temperature = self._shown, self._temperature
        if logits is None:
            return None
        seed = self.options["seed"] + self._thousands
        self._thousands += 1

        def then(drawn: Counter[int]) -> None:
            self._counts.update(drawn)
            self.message = ""
            self.done.add("drawn")
            if self._counts.total() >= _MANY:
                self.done.add("thousands")

        return Measurement(
            lambda *_: draw(logits.data, temperature, seed), then, words="drawing"
        )

    @property
    def figure(self) -> Figure:
        logits = self._shown
        if logits is None:
            return ()
        parts = (Words(self._slider()), self._table(logits))
        if logits.top_logprobs is None:
            return parts
        words = (
            f"The server tells the {logits.top_logprobs:,} most probable tokens only; "
            "all others are taken to be equally probable, and logits are "
            "log-probabilities."
        )
        return (*parts, Words(words, "quiet"))

    def _slider(self) -> str:
        before = _STEP * self._temperature_index
        after = _STEP * (len(TEMPERATURES) - 1) - before
        drawn = f"flat ◄{'━' * before}●{'─' * after}► sharp"
        return f"confidence  {drawn}  T = {self._temperature:g}"

    def _table(self, logits: _Logits) -> Table:
        last, total, whole = len(logits.rows), self._counts.total(), sum(self._weights)
        probs = [weight / whole for weight in self._weights]
        counts = [self._counts[candidate.id] for candidate in logits.rows]
        counts.append(total - sum(counts))
        expected = [total * prob for prob in probs]
        rows: list[list[str | Cell]] = []
        for n, prob in enumerate(probs):
            name = Cell(f"{len(logits.values) - last:,} others", "quiet")
            scores = "", ""
            if n < last:
                name = Cell(visible_token(logits.rows[n].text)[:_TOKEN])
                logit = logits.values[logits.rows[n].id]
                scaled = logit / self._temperature
                scores = notation.number(logit), notation.number(scaled)
            weight, share = notation.weight(self._weights[n]), notation.chance(prob)
            bar = Cell(bar=(prob, counts[n] / total) if total else (prob,))
            drawn = notation.count(counts[n]), notation.number(expected[n], ",.1f")
            rows.append([name, *scores, weight, share, bar, *drawn])
        drawn = notation.count(total), notation.number(total, ",.1f")
        rows.append(["Σ", "", "", notation.weight(whole), "100%", "", *drawn])
        heads: list[str | Column] = [
            "token",
            *numbers("logit", "÷ T", "exp", "÷ Σ"),
            BAR,
        ]
        title = f"After “{excerpt(logits.text)}”"
        temperature = f"T = {self._temperature:g}"
        if not total:
            cells = (row[: len(heads)] for row in rows)
            return table(heads, cells, title=f"{title}, {temperature}")
        test = chi_square(counts, expected)
        return table(
            [*heads, *numbers("drawn", "expected")],
            rows,
            title=f"{temperature}, {total:,} draws: {_statistic(test)}",
            note=f"{title}. {_in_words(test)}",
        )


def draw(data: bytes, temperature: float, seed: int) -> Counter[int]:
    """Draw 1,000 tokens from raw logits, float32 [V], as the sampler does with no
    filter; return how often each token came."""
    import torch

    from lmtui.engine.sampling.chain import filter_logits
    from lmtui.engine.sampling.draw import draw_many
    from lmtui.engine.scoring.raw_logits import from_bytes

    settings = SamplingSettings(temperature=temperature, top_k=0, top_p=1, min_p=0)
    (logits,) = from_bytes(data, len(data) // LOGIT_BYTES)
    sampled = filter_logits(logits, settings)
    random = torch.Generator().manual_seed(seed)
    return Counter(sampled.ids[draw_many(sampled, random, _DRAWS)].tolist())


def _statistic(test: ChiSquare | None) -> str:
    if test is None:
        return "χ² needs a second row"
    return (
        f"χ² = {notation.number(test.statistic, ',.1f')}, "
        f"{notation.counted(test.freedom, 'degree')} of freedom, "
        f"p = {notation.percent(test.p_value)}"
    )


def _in_words(test: ChiSquare | None) -> str:
    if test is None:
        return "Only one row expects 5 draws or more: there is nothing to compare yet."
    share = notation.percent(test.p_value)
    return (
        "Upper bar: probability; lower bar: share of the draws. Differences this large "
        f"or larger happen in {share} of such draws."
    )
