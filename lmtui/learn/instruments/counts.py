"""Instrument: models that only count, beside the transformer, on the same text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.types import Candidate
from lmtui.errors import LmtuiError
from lmtui.learn.figure import Bars, Cell, Column, Figure, Table, Words, row
from lmtui.learn.instrument import Instrument, Measurement, Option
from lmtui.learn.instruments.texts import excerpt, expect, sample_of
from lmtui.worker.requests import Context

if TYPE_CHECKING:
    from lmtui.engine.backends.ngram_model import NgramModel

NAMES = ("uniform", "unigram", "bigram", "trigram")
TRANSFORMER = "this model"
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
    nats: tuple[float | None, ...]
    """Sum of −log p over them, of each model and of the transformer; None where a
    server does not tell all of them."""

    def bits_per_byte(self, number: int) -> float | None:
        """Return the bits per byte of a model; the last one is the transformer."""
        nats = self.nats[number]
        return None if nats is None else nats / notation.LN2 / self.size

    def entropy(self, number: int) -> float | None:
        """Return the mean of −log p of a token, in nats: the cross-entropy."""
        nats = self.nats[number]
        return None if nats is None else nats / self.scored


@dataclass(frozen=True, slots=True)
class _Looked:
    """What each model expects after a text."""

    text: str
    rows: tuple[tuple[Candidate, ...], ...]
    rests: tuple[float, ...]


class CountsInstrument(Instrument):
    """What models expect that only count how often tokens follow each other, and how
    well they predict a held-out text, beside the model in use."""

    NAME = "counts"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("The words after which the models are asked.")
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "orders": "each of the five models was looked at",
        "entered": "other words were entered",
    }
    ASKS = "Words"
    SLIDES = "the model"
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = (("slide", "-2"),)

    _counted: CountedModels | None = None
    _looked: _Looked | None = None
    _chosen = NAMES.index("bigram")

    def begin(self) -> Measurement | None:
        self.entered = sample_of(self.material, self.options["text"])
        self._seen = {self._chosen}
        text, asked = self.material.text, self.entered

        def run(engine: Engine, context: Context) -> tuple[CountedModels, _Looked]:
            counted = count_models(engine, text, context)
            return counted, _look(engine, counted.models, asked)

        def take(result: tuple[CountedModels, _Looked]) -> None:
            self._counted, self._looked = result
            self.message = ""

        return Measurement(run, take, self._hear, words="counting")

    def _hear(self, stage: str) -> None:
        self.message = stage

    def enter(self, text: str) -> Measurement | None:
        counted = self._counted
        if counted is None:
            return self.begin()
        if not text.strip():
            self.message = "Write a word or two."
            return None

        def take(looked: _Looked) -> None:
            if self._looked is not None and looked.text != self._looked.text:
                self.done.add("entered")
            self._looked, self.message = looked, ""

        return Measurement(lambda engine, _: _look(engine, counted.models, text), take)

    def slide(self, by: int) -> Measurement | None:
        if self._counted is not None:
            # The models stand below each other: down is the next one.
            self._chosen = min(len(NAMES), max(0, self._chosen - by))
            self._seen.add(self._chosen)
            if len(self._seen) == len(NAMES) + 1:
                self.done.add("orders")
        return None

    @property
    def figure(self) -> Figure:
        """The models with their bits, and the bars of one of them."""
        counted, looked = self._counted, self._looked
        if counted is None or looked is None:
            return ()
        names = (*NAMES, TRANSFORMER)
        bars = Bars(
            f"{names[self._chosen]}, after “{excerpt(looked.text)}”",
            looked.rows[self._chosen],
            looked.rests[self._chosen],
        )
        about = Words(
            f"Counted in {counted.counted:,} tokens of {self.material.name}; scored on "
            f"{counted.scored:,} others that were held out.",
            "quiet",
        )
        return (self._table(counted, names), bars, about)

    @property
    def measured(self) -> str | None:
        """The words after which the models were asked."""
        return None if self._looked is None else self._looked.text

    def _table(self, counted: CountedModels, names: Sequence[str]) -> Table:
        most = max(filter(None, map(counted.bits_per_byte, range(len(names)))))
        rows = []
        for number, name in enumerate(names):
            bits, nats = counted.bits_per_byte(number), counted.entropy(number)
            rows.append(
                row(
                    name,
                    _READS[number],
                    Cell("", share=None if bits is None else bits / most),
                    notation.rate(bits),
                    notation.rate(None if bits is None else bits * notation.LN2),
                    notation.choices(nats),
                )
            )
        columns = (
            Column("model"),
            Column("it looks at"),
            Column("", grows=True),
            Column(notation.PER_BYTE.full, right=True),
            Column("nats/byte", right=True),
            Column(notation.PERPLEXITY.full, right=True),
        )
        return Table("", columns, tuple(rows), at=self._chosen)


_READS = ("nothing", "counts alone", "1 token", "2 tokens", "all of it")


def count_models(engine: Engine, text: str, context: Context) -> CountedModels:
    """Count the n-grams of a text's tokens but the last tenth, and score the beginning
    of that by each model.

    Raises:
        LmtuiError: the text is too short.
    """
    from lmtui.engine.backends.ngram_model import NgramModel

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
    own = [token.logprob for token in tokens[1:]]
    nats = [-float(model.score(held_out[: len(tokens)])[1:].sum()) for model in models]
    known = [logprob for logprob in own if logprob is not None]
    whole = -sum(known) if len(known) == len(own) else None
    size = sum(len(token.bytes) for token in tokens[1:])
    return CountedModels(models, end, len(own), size, (*nats, whole))


def _look(engine: Engine, models: Sequence[NgramModel], text: str) -> _Looked:
    encoding = engine.encode(text)
    rows, rests = [], []
    for model in models:
        found = _most_probable(engine, model, encoding.ids)
        rows.append(found)
        rests.append(max(0.0, 1 - sum(each.prob for each in found)))
    bars = Bars.of("", expect(engine, text, top_n=_ROWS))
    return _Looked(text, (*rows, bars.rows), (*rests, bars.rest_prob))


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
