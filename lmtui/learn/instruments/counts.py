"""Instrument: models that only count, beside the transformer, on the same text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.scoring.totals import Sums
from lmtui.engine.types import Candidate
from lmtui.errors import LmtuiError
from lmtui.learn.figure import BAR, Cell, Figure, Table, Words, bars, numbers, table
from lmtui.learn.instrument import Measurement, Options
from lmtui.learn.instruments.texts import (
    TextInstrument,
    excerpt,
    expect,
    total_logprob,
)

if TYPE_CHECKING:
    from lmtui.engine.ngram_model import NgramModel

NAMES = ("uniform", "unigram", "bigram", "trigram", "this model")
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
    sums: Sequence[Sums]
    """Those of the held-out tokens, by each model and by the transformer, the last; the
    first token has no context and does not count. Without scored tokens where a server
    does not tell all of them."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """What each model expects after a text: rows, and the probability of the rest."""

    text: str
    bars: Sequence[tuple[Sequence[Candidate], float]]


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
        def run(engine: Engine, _: object) -> tuple[CountedModels, _Expected]:
            counted = self._counted or count_models(engine, self.material.text)
            return counted, _expect(engine, counted.models, text)

        def then(result: tuple[CountedModels, _Expected]) -> None:
            self._counted, expected = result
            self.show(expected)

        words = "counting" if self._counted is None else "computing"
        return Measurement(run, then, words=words)

    def slide(self, by: int) -> Measurement | None:
        if self._counted is not None:
            # The models stand below each other: down is the next one.
            self._chosen = min(len(NAMES) - 1, max(0, self._chosen - by))
            self._opened.add(self._chosen)
            if len(self._opened) == len(NAMES):
                self.done.add("orders")
        return None

    @property
    def figure(self) -> Figure:
        counted, shown, chosen = self._counted, self._shown, self._chosen
        if counted is None or shown is None:
            return ()
        about = (
            f"Counted in {counted.counted:,} tokens of {self.material.name}; scored on "
            f"{counted.sums[0].scored:,} others that were held out."
        )
        title = f"{NAMES[chosen]}, after “{excerpt(shown.text)}”"
        return (
            self._table(counted.sums),
            bars(title, *shown.bars[chosen]),
            Words(about, "quiet"),
        )

    def _table(self, sums: Sequence[Sums]) -> Table:
        most = max(each.bits_per_byte or 0.0 for each in sums)
        rows = (
            (
                each.name,
                context,
                Cell(bar=(bits / most,) if (bits := each.bits_per_byte) else ()),
                notation.rate(bits),
                notation.rate(None if bits is None else bits * notation.LN2),
                notation.choices(each.mean_nll),
            )
            for each, context in zip(sums, _CONTEXTS, strict=True)
        )
        heads = numbers(notation.PER_BYTE.full, "nats/byte", notation.PERPLEXITY.full)
        return table(("model", "it looks at", BAR, *heads), rows, at=self._chosen)


def count_models(engine: Engine, text: str) -> CountedModels:
    """Count the n-grams of a text's tokens but the last tenth, and score the beginning
    of that by each model."""
    from lmtui.engine.ngram_model import NgramModel

    ids = engine.encode(text, bos="no").ids
    if len(ids) < LEAST_TOKENS:
        raise LmtuiError(
            "the text is too short to count in",
            f"{len(ids):,} tokens",
            f"Give a text of at least {LEAST_TOKENS:,} tokens.",
        )
    end = len(ids) - len(ids) // _SHARE
    held_out = ids[end : end + _MOST_SCORED]
    models = [
        NgramModel.count([ids[:end]], order=order, vocabulary=engine.info.vocabulary)
        for order in range(len(NAMES) - 1)
    ]
    prefix = engine.encode("").prefix
    window = engine.info.windows(len(prefix)).window
    tokens = list(engine.score(held_out[:window], prefix=prefix))
    totals = [float(model.score(held_out[: len(tokens)])[1:].sum()) for model in models]
    size = sum(len(token.bytes) for token in tokens[1:])
    sums = [
        Sums(name, total or 0.0, 0 if total is None else len(tokens) - 1, None, 0, size)
        for name, total in zip(NAMES, (*totals, total_logprob(tokens[1:])), strict=True)
    ]
    return CountedModels(models, end, sums)


def _expect(engine: Engine, models: Sequence[NgramModel], text: str) -> _Expected:
    ids = engine.encode(text).ids
    after = expect(engine, text, top_n=_ROWS)
    rows = [_most_probable(engine, model, ids) for model in models]
    rests = [max(0.0, 1 - sum(token.prob for token in tokens)) for tokens in rows]
    counted = zip(rows, rests, strict=True)
    return _Expected(text, (*counted, (after.candidates, after.rest_prob)))


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
