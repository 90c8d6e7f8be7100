"""Instrument: models that only count, beside the transformer, on the same text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.scoring.totals import bits_per
from lmtui.engine.types import Candidate
from lmtui.errors import LmtuiError
from lmtui.learn.figure import Cell, Column, Figure, Table, Words, bars, row
from lmtui.learn.instrument import Measurement, Options
from lmtui.learn.instruments.texts import (
    TextInstrument,
    excerpt,
    expect,
    total_logprob,
)
from lmtui.worker.requests import Context

if TYPE_CHECKING:
    from lmtui.engine.ngram_model import NgramModel

NAMES = ("uniform", "unigram", "bigram", "trigram")
TRANSFORMER = "this model"
_CONTEXTS = ("nothing", "counts alone", "1 token", "2 tokens", "all of it")
LEAST_TOKENS = 200
"""Tokens of the smallest text that can be counted and held out from."""
_SHARE = 10
"""One in so many tokens is held out: the last ones."""
_MOST_SCORED = 1024
"""Most tokens of the held-out part that are scored, so that it takes a second."""
_ROWS = 6


@dataclass(frozen=True, slots=True)
class CountedModels:
    """The models, what they were counted from, and how well each predicts what it has
    not seen."""

    models: Sequence[NgramModel]
    """Of the orders 0 to 3."""
    counted: int
    """Number of tokens that were counted."""
    scored: int
    """Number of held-out tokens that are scored; the first has no context and does not
    count."""
    size: int
    """Bytes of these tokens."""
    totals: tuple[float | None, ...]
    """Σ log P of them in nats, by each model and by the transformer; None where a
    server does not tell all of them."""

    def bits_per_byte(self, number: int) -> float | None:
        """Return the bits per byte of a model; the last one is the transformer."""
        return bits_per(self.totals[number], self.size)

    def entropy(self, number: int) -> float | None:
        """Return the mean of −log p of a token, in nats: the cross-entropy."""
        total = self.totals[number]
        return None if total is None else -total / self.scored


@dataclass(frozen=True, slots=True)
class _Expected:
    """What each model expects after a text."""

    text: str
    rows: tuple[tuple[Candidate, ...], ...]
    rests: tuple[float, ...]


class CountsInstrument(TextInstrument):
    """What models expect that only count how often tokens follow each other, and how
    well they predict a held-out text, beside the model in use."""

    NAME = "counts"
    OPTIONS: ClassVar[Options] = {"text": ""}
    ASKS = "Words"
    SLIDES = "the model"

    _counted: CountedModels | None = None
    _shown: _Expected | None = None
    _chosen = NAMES.index("bigram")

    def begin(self) -> Measurement | None:
        self._opened = {self._chosen}
        return super().begin()

    def measure(self, text: str) -> Measurement:
        def run(engine: Engine, context: Context) -> tuple[CountedModels, _Expected]:
            counted = self._counted
            if counted is None:
                counted = count_models(engine, self.material.text, context)
            return counted, _expect(engine, counted.models, text)

        def then(result: tuple[CountedModels, _Expected]) -> None:
            self._counted, expected = result
            if self._shown is not None and expected.text != self._shown.text:
                self.done.add("entered")
            self.show(expected)

        words = "counting" if self._counted is None else "computing"
        return Measurement(run, then, self._hear, words)

    def _hear(self, stage: str) -> None:
        self.message = stage

    def slide(self, by: int) -> Measurement | None:
        if self._counted is not None:
            # The models stand below each other: down is the next one.
            self._chosen = min(len(NAMES), max(0, self._chosen - by))
            self._opened.add(self._chosen)
            if len(self._opened) == len(NAMES) + 1:
                self.done.add("orders")
        return None

    @property
    def figure(self) -> Figure:
        counted, shown, chosen = self._counted, self._shown, self._chosen
        if counted is None or shown is None:
            return ()
        name = (*NAMES, TRANSFORMER)[chosen]
        title = f"{name}, after “{excerpt(shown.text)}”"
        about = (
            f"Counted in {counted.counted:,} tokens of {self.material.name}; scored on "
            f"{counted.scored:,} others that were held out."
        )
        return (
            self._table(counted),
            bars(title, shown.rows[chosen], shown.rests[chosen]),
            Words(about, "quiet"),
        )

    def _table(self, counted: CountedModels) -> Table:
        rates = [counted.bits_per_byte(number) for number in range(len(_CONTEXTS))]
        most = max(filter(None, rates))
        rows = [
            row(
                name,
                context,
                Cell("", bar=() if bits is None else (bits / most,)),
                notation.rate(bits),
                notation.rate(None if bits is None else bits * notation.LN2),
                notation.choices(counted.entropy(number)),
            )
            for number, (name, context, bits) in enumerate(
                zip((*NAMES, TRANSFORMER), _CONTEXTS, rates, strict=True)
            )
        ]
        columns = (
            Column("model"),
            Column("it looks at"),
            Column("", grows=True),
            Column(notation.PER_BYTE.full, right=True),
            Column("nats/byte", right=True),
            Column(notation.PERPLEXITY.full, right=True),
        )
        return Table("", columns, tuple(rows), at=self._chosen)


def count_models(engine: Engine, text: str, context: Context) -> CountedModels:
    """Count the n-grams of a text's tokens but the last tenth, and score the beginning
    of that by each model."""
    from lmtui.engine.ngram_model import NgramModel

    context.emit("The text is cut into tokens.")
    ids = engine.encode(text, bos="no").ids
    if len(ids) < LEAST_TOKENS:
        raise LmtuiError(
            "the text is too short to count in",
            f"{len(ids):,} tokens",
            f"Give a text of at least {LEAST_TOKENS:,} tokens.",
        )
    end = len(ids) - len(ids) // _SHARE
    held_out = ids[end : end + _MOST_SCORED]
    context.emit(f"N-grams are counted in {end:,} tokens.")
    models = [
        NgramModel.count([ids[:end]], order=order, vocabulary=engine.info.vocabulary)
        for order in range(len(NAMES))
    ]
    context.emit(f"{len(held_out):,} held-out tokens are scored.")
    prefix = engine.encode("").prefix
    window = engine.info.windows(len(prefix)).window
    tokens = list(engine.score(held_out[:window], prefix=prefix))
    totals = [float(model.score(held_out[: len(tokens)])[1:].sum()) for model in models]
    size = sum(len(token.bytes) for token in tokens[1:])
    own = total_logprob(tokens[1:])
    return CountedModels(models, end, len(tokens) - 1, size, (*totals, own))


def _expect(engine: Engine, models: Sequence[NgramModel], text: str) -> _Expected:
    ids = engine.encode(text).ids
    after = expect(engine, text, top_n=_ROWS)
    rows = [_most_probable(engine, model, ids) for model in models]
    rests = [max(0.0, 1 - sum(token.prob for token in tokens)) for tokens in rows]
    return _Expected(text, (*rows, after.candidates), (*rests, after.rest_prob))


def _most_probable(
    engine: Engine, model: NgramModel, ids: Sequence[int]
) -> tuple[Candidate, ...]:
    """Return the most probable tokens after `ids`; of equal ones, those with the lower
    id."""
    logprobs = model.logprobs(ids)
    best = logprobs.sort(descending=True, stable=True).indices[:_ROWS].tolist()
    return tuple(
        Candidate(token.id, token.text, token.bytes, float(logprobs[token.id]))
        for token in engine.describe_tokens(best)
    )
