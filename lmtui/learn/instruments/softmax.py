"""Instrument: from logits to probabilities at a temperature, and draws from them."""

from __future__ import annotations

import math
import sys
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.types import Candidate, SamplingSettings
from lmtui.learn.chi_square import ChiSquare, chi_square
from lmtui.learn.figure import Cell, Column, Figure, Table, Words, row
from lmtui.learn.instrument import (
    Action,
    Instrument,
    Material,
    Measurement,
    Option,
    Options,
)
from lmtui.learn.instruments.texts import excerpt, expect, sample_of
from lmtui.text import visible_token
from lmtui.worker.requests import Context

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
    values: bytes
    """float32 [V], as the engine gives them."""
    numbers: array[float]
    """The same, as numbers of this machine."""
    rows: tuple[Candidate, ...]
    listed: int | None
    """Number of tokens of which a server tells the probability."""


@dataclass(frozen=True, slots=True)
class _Softmax:
    """Each step from logits to probabilities at one temperature."""

    temperature: float
    logits: tuple[float, ...]
    """Of the tokens that have a row."""
    scaled: tuple[float, ...]
    """logit ÷ T."""
    weights: tuple[float, ...]
    """exp(scaled − the greatest scaled)."""
    rest: float
    """Sum of the weights of all tokens without a row."""
    total: float
    """Sum of all weights."""

    @classmethod
    def of(
        cls, numbers: Sequence[float], ids: Sequence[int], temperature: float
    ) -> _Softmax:
        """Return the softmax of logits, with rows for the tokens `ids`. The greatest
        logit is taken off first, which changes no probability, so that no exponential
        overflows."""
        greatest = max(numbers)
        total = math.fsum(math.exp((z - greatest) / temperature) for z in numbers)
        logits = tuple(numbers[id_] for id_ in ids)
        weights = tuple(math.exp((z - greatest) / temperature) for z in logits)
        return cls(
            temperature,
            logits,
            tuple(z / temperature for z in logits),
            weights,
            max(0.0, total - math.fsum(weights)),
            total,
        )

    @property
    def probs(self) -> tuple[float, ...]:
        """Probabilities of the rows, and of all other tokens together."""
        return tuple(weight / self.total for weight in (*self.weights, self.rest))


class SoftmaxInstrument(Instrument):
    """Logits ÷ T → exp → ÷ Σ in columns while the slider moves T; draws are counted
    beside what is expected."""

    NAME = "softmax"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("The text at the beginning."),
        "rows": Option("Number of tokens with a row.", int, 6, low=1, high=20),
        "seed": Option("Seed of the first draws; later ones count on.", int, 1, low=0),
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "typed": "the text was changed",
        "slid": "the temperature was below 0.5 and above 2",
        "drawn": "1,000 tokens were drawn",
        "thousands": "3,000 tokens or more were drawn at one temperature",
    }
    ACTIONS = (
        Action("draw", "draw 1,000", "Draw 1,000 tokens at this temperature."),
        Action("clear", "clear", "Forget all draws."),
    )
    ASKS = "Text"
    SLIDES = "confidence"
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = (("act", "draw"),)

    _logits: _Logits | None = None
    _softmax: _Softmax | None = None
    _step = TEMPERATURES.index(1.0)
    _times = 0  # thousands asked for; the next seed follows from it
    _counted = 0  # those that are counted, or given up

    def __init__(self, options: Options, material: Material) -> None:
        super().__init__(options, material)
        self._counts: Counter[int] = Counter()
        """How often each token was drawn."""
        self._seen: set[str] = set()

    def begin(self) -> Measurement | None:
        self.entered = sample_of(self.material, self.options["text"])
        return self._look(self.entered)

    def typed(self, text: str) -> Measurement | None:
        if text != self.entered:
            self.done.add("typed")
            self._clear()  # drawn after another text
        return self._look(text)

    def enter(self, text: str) -> Measurement | None:
        return self._look(text)

    def slide(self, by: int) -> Measurement | None:
        before = self._step
        self._step = min(len(TEMPERATURES) - 1, max(0, before + by))
        if self._step == before:
            words = "greatest" if by < 0 else "least"
            self.message = f"This is the {words} temperature here."
        else:
            self.message = ""
            self._compute()
        return None

    def act(self, action: str) -> Measurement | None:
        if action == "clear":
            self._clear()
            self.message = ""
            return None
        return self._draw()

    def _look(self, text: str) -> Measurement | None:
        if not text.strip():
            self.message = "Write something: a model needs a text to go on from."
            return None

        def run(engine: Engine, _: Context) -> _Logits:
            found = expect(engine, text, top_n=self.options["rows"])
            values = engine.logits_at(found.handle)
            numbers = _numbers(values)
            return _Logits(text, values, numbers, found.candidates, found.listed)

        return Measurement(run, self._take)

    def _take(self, logits: _Logits) -> None:
        self.message = ""
        if self._logits is None or logits.text != self._logits.text:
            self._logits = logits
            self._compute()

    def _compute(self) -> None:
        """Compute the columns; what was drawn before came from another
        distribution."""
        if self._logits is None:
            return
        ids = [candidate.id for candidate in self._logits.rows]
        temperature = TEMPERATURES[self._step]
        self._softmax = _Softmax.of(self._logits.numbers, ids, temperature)
        self._clear()
        if temperature < _COLD:
            self._seen.add("cold")
        elif temperature > _HOT:
            self._seen.add("hot")
        if self._seen == {"cold", "hot"}:
            self.done.add("slid")

    def _draw(self) -> Measurement | None:
        logits, softmax = self._logits, self._softmax
        if logits is None or softmax is None:
            return None
        self._times += 1
        # With those asked for before whose answer this one takes the place of.
        times = range(self._counted, self._times)
        first = self.options["seed"]

        def run(_: Engine, _context: Context) -> Counter[int]:
            drawn: Counter[int] = Counter()
            for number in times:
                drawn += draw(logits.values, softmax.temperature, first + number)
            return drawn

        def take(drawn: Counter[int]) -> None:
            if self._softmax is softmax:  # else the slider or the text has changed
                self._counted = times.stop
                self._count(drawn)

        return Measurement(run, take, words="drawing")

    def _clear(self) -> None:
        self._counts.clear()
        self._counted = self._times

    def _count(self, drawn: Counter[int]) -> None:
        self._counts.update(drawn)
        self.message = ""
        self.done.add("drawn")
        if self._counts.total() >= _MANY:
            self.done.add("thousands")

    @property
    def figure(self) -> Figure:
        """The columns, and how well the counts agree with them."""
        logits, softmax = self._logits, self._softmax
        if logits is None or softmax is None:
            return ()
        table = self._table(logits, softmax)
        if logits.listed is None:
            return (Words(self._slider()), table)
        words = (
            f"The server tells the {logits.listed:,} most probable tokens only; all "
            "others are taken to be equally probable, and logits are log-probabilities."
        )
        return (Words(self._slider()), table, Words(words, "quiet"))

    def _slider(self) -> str:
        """Return the slider as it is drawn in the chat."""
        before = _STEP * self._step
        after = _STEP * (len(TEMPERATURES) - 1) - before
        temperature = f"T = {TEMPERATURES[self._step]:g}"
        return f"confidence  flat ◄{'━' * before}●{'─' * after}► sharp  {temperature}"

    @property
    def measured(self) -> str | None:
        """The text before the logits."""
        return None if self._logits is None else self._logits.text

    def _observed(self, logits: _Logits) -> list[int]:
        """Return the counts of the rows, and of all other tokens together."""
        own = [self._counts[candidate.id] for candidate in logits.rows]
        return [*own, self._counts.total() - sum(own)]

    def _table(self, logits: _Logits, softmax: _Softmax) -> Table:
        total = self._counts.total()
        columns = [
            Column("token"),
            *(Column(name, right=True) for name in ("logit", "÷ T", "exp", "÷ Σ")),
            Column("", grows=True),
        ]
        if total:
            columns += (Column(name, right=True) for name in ("drawn", "expected"))
        names = [
            *(visible_token(each.text)[:_TOKEN] for each in logits.rows),
            f"{len(logits.numbers) - len(logits.rows):,} others",
        ]
        counts = self._observed(logits)
        found = chi_square(counts, [total * prob for prob in softmax.probs])
        rows = []
        for n, (name, prob) in enumerate(zip(names, softmax.probs, strict=True)):
            is_rest = n == len(logits.rows)
            cells = [
                Cell(name, tone="quiet" if is_rest else ""),
                Cell("" if is_rest else notation.number(softmax.logits[n])),
                Cell("" if is_rest else notation.number(softmax.scaled[n])),
                Cell(notation.weight(softmax.rest if is_rest else softmax.weights[n])),
                Cell(notation.chance(prob)),
                Cell("", prob, second=counts[n] / total if total else None),
            ]
            if total:
                expected = notation.number(total * prob, ",.1f")
                cells += (Cell(notation.count(counts[n])), Cell(expected))
            rows.append(tuple(cells))
        summed = ["Σ", "", "", notation.weight(softmax.total), "100%", ""]
        if total:
            summed += [notation.count(total), notation.number(total, ",.1f")]
        return Table(
            f"{_after(logits)}, T = {softmax.temperature:g}"
            if not total
            else f"T = {softmax.temperature:g}, {total:,} draws: {_statistic(found)}",
            tuple(columns),
            (*rows, row(*summed)),
            f"{_after(logits)}. {_in_words(found)}" if total else "",
        )


def draw(values: bytes, temperature: float, seed: int) -> Counter[int]:
    """Draw 1,000 tokens from raw logits, float32 [V], as the sampler does with no
    filter; return how often each token came."""
    import torch

    from lmtui.engine.sampling.chain import filter_logits
    from lmtui.engine.sampling.draw import draw_many
    from lmtui.engine.scoring.raw_logits import from_bytes

    settings = SamplingSettings(temperature=temperature, top_k=0, top_p=1, min_p=0)
    (logits,) = from_bytes(values, len(values) // array("f").itemsize)
    sampled = filter_logits(logits, settings)
    random = torch.Generator().manual_seed(seed)
    places = draw_many(sampled, random, _DRAWS)
    return Counter(sampled.ids[places].tolist())


def _numbers(values: bytes) -> array[float]:
    numbers = array("f", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _after(logits: _Logits) -> str:
    return f"After “{excerpt(logits.text)}”"


def _statistic(found: ChiSquare | None) -> str:
    if found is None:
        return "χ² needs a second row"
    return (
        f"χ² = {notation.number(found.statistic, ',.1f')}, "
        f"{notation.counted(found.freedom, 'degree')} of freedom, "
        f"p = {notation.percent(found.p_value)}"
    )


def _in_words(found: ChiSquare | None) -> str:
    if found is None:
        return "Only one row expects 5 draws or more: there is nothing to compare yet."
    share = notation.percent(found.p_value)
    return (
        "Upper bar: probability; lower bar: share of the draws. Differences this large "
        f"or larger happen in {share} of such draws."
    )
