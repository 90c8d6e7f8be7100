"""Score texts with one model or two, part by part as they are computed.

Tokens are not kept, only their totals. Knows the engine only through its protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from lmtui import cancellation
from lmtui.analysis.compare import (
    ComparedSpan,
    Comparison,
    PlacedToken,
    alone,
    pieces,
    unit_of,
)
from lmtui.analysis.summary import Span, Summary, Totals
from lmtui.analysis.words import Word, words_of
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.inspect.chat_message import StoredMessageText
from lmtui.cli.ngram import ngram_name, ngram_scores
from lmtui.cli.progress import meter
from lmtui.engine.lens import LensColumn
from lmtui.engine.protocol import Engine
from lmtui.engine.types import BosRule, ScoredToken
from lmtui.files import TextSource

if TYPE_CHECKING:
    from lmtui.engine.ngram_model import NgramModel

Part = TypeVar("Part", ComparedSpan, Word)

ReportScored = Callable[[int, int], None]
"""Called with (tokens done, tokens in all)."""


@dataclass(frozen=True, slots=True)
class Rules:
    window: int | None = None
    stride: int | None = None
    bos: BosRule = "auto"
    top: int = 0
    """Number of alternatives needed for each token."""
    ngrams: NgramModel | None = None
    """Model that counts, to compare with."""


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """Results of a text that was scored to its end, or of several together."""

    document: TextSource
    own: Summary
    other: Summary | None = None
    comparison: Comparison | None = None
    """Present if tokens of two models were compared."""

    @property
    def summaries(self) -> list[Summary]:
        return [self.own, self.other] if self.other else [self.own]


def merged(total: ScoredRow | None, row: ScoredRow) -> ScoredRow:
    """Return the totals of several texts, with those of one more; what is no sum is
    that of the last text."""
    own = total.own.totals if total else Totals()
    own.merge(row.own.totals)
    if row.other is None or row.comparison is None:
        return replace(row, own=replace(row.own, totals=own))
    other = total.other.totals if total and total.other else Totals()
    other.merge(row.other.totals)
    comparison = (total and total.comparison) or Comparison("token")
    comparison.merge(row.comparison)
    own_summary = replace(row.own, totals=own)
    return replace(
        row,
        own=own_summary,
        other=replace(row.other, totals=other),
        comparison=comparison,
    )


class ModelScores:
    """Scoring of a text by one model, and its totals."""

    def __init__(self, engine: Engine, document: TextSource, rules: Rules) -> None:
        self._engine, self._document, self._rules = engine, document, rules
        self._has_stored_ids: bool | None = None
        if isinstance(document, StoredMessageText):
            self.encoding, self._has_stored_ids = document.read(engine)
        else:
            self.encoding = engine.encode(document.text, bos=rules.bos)
        self.windows = engine.info.windows(
            len(self.encoding.prefix), rules.window, rules.stride
        )
        self._score = partial(
            engine.score,
            prefix=self.encoding.prefix,
            window=self.windows.window,
            stride=self.windows.stride,
            top_n=rules.top,
        )
        self.totals = Totals()

    def tokens(self) -> Iterator[PlacedToken]:
        """Yield the tokens with their spans, and add each to the totals."""
        return self._counted(self._score(self.encoding.ids))

    def words(self) -> Iterator[Word]:
        """Yield the words, and add each of their tokens to the totals."""
        ids = self.encoding.ids
        # Behind the text stands any token: whether the last word ends is told there.
        scored = self._score((*ids, 0), word_ends=True)
        tokens = self._counted(islice(scored, len(ids)))
        behind = ((token, None) for token in scored)
        return words_of(self._document.text, chain(tokens, behind))

    def _counted(self, scored: Iterator[ScoredToken]) -> Iterator[PlacedToken]:
        for token, span in zip(scored, self.encoding.spans, strict=True):
            self.totals.add(token, span)
            yield token, span

    def columns(self) -> Iterator[tuple[PlacedToken, LensColumn]]:
        """Yield the tokens with their spans and what each layer predicted there, and
        add each to the totals."""
        ids = self.encoding.ids
        columns = self._engine.logit_lens(
            ids,
            range(len(ids)),
            prefix=self.encoding.prefix,
            window=self.windows.window,
            stride=self.windows.stride,
            top_n=self._rules.top,
        )
        tokens = self._engine.describe_tokens(ids)
        spans = self.encoding.spans
        for token, span, column in zip(tokens, spans, columns, strict=True):
            scored = column.scored(token)
            self.totals.add(scored, span)
            yield (scored, span), column

    def summary(self) -> Summary:
        """Return the results, once all tokens were read."""
        self.totals.measure(self._document.text, self.encoding.spans)
        before = len(self.encoding.prefix)
        is_file = self._has_stored_ids is None
        return Summary(
            info=self._engine.info,
            totals=self.totals,
            windows=self.windows,
            bos=is_file and before > 0,
            before=0 if is_file else before,
            stored=self._has_stored_ids,
            rewritten=self.encoding.rewritten,
        )


class NgramScores(ModelScores):
    """Scoring of a text by an n-gram model over the tokens of the model beside it."""

    def __init__(
        self, ngrams: NgramModel, engine: Engine, document: TextSource, rules: Rules
    ) -> None:
        super().__init__(engine, document, rules)
        self._ngrams = ngrams

    def tokens(self) -> Iterator[PlacedToken]:
        top = self._rules.top
        return self._counted(
            ngram_scores(self._ngrams, self._engine, self.encoding, top)
        )

    def summary(self) -> Summary:
        own = super().summary()
        info = replace(
            own.info,
            model=ngram_name(self._ngrams.order),
            adapter=None,
            dtype="float64",
            precision="exact",
        )
        return replace(own, info=info)


class TextScores:
    """Scoring of one text by one model or two."""

    def __init__(
        self,
        engines: Sequence[Engine],
        document: TextSource,
        rules: Rules,
        report: ReportScored,
        begin: Callable[[], None],
    ) -> None:
        """`begin` is called before the first part with a value."""
        self.document = document
        self._models = [ModelScores(engine, document, rules) for engine in engines]
        if rules.ngrams is not None:
            scores = NgramScores(rules.ngrams, engines[0], document, rules)
            self._models.append(scores)
        self._report, self._begin = report, begin
        self._comparison: Comparison | None = None
        if len(self._models) > 1:
            own, other = (model.encoding for model in self._models)
            self._comparison = Comparison(unit_of(own, other))

    @property
    def compares(self) -> bool:
        return self._comparison is not None

    def pieces(self) -> Iterator[ComparedSpan]:
        """Yield the parts of the text."""
        compared = self._comparison
        own, *others = (model.tokens() for model in self._models)
        parts = pieces(own, others[0], compared.unit) if compared else alone(own)
        for piece in self._reported(parts):
            if compared:
                compared.add(piece)
            yield piece

    def words(self) -> Iterator[tuple[Word, Word | None]]:
        """Yield the words of the text, each with what the other model has at the same
        place, if there is one. They are not compared as tokens."""
        self._comparison = None
        own, *others = (model.words() for model in self._models)
        known: dict[Span, Word] = {}

        def words() -> Iterator[Word]:
            for other in others:
                known.update(((word.start, word.end), word) for word in other)
            yield from own

        for word in self._reported(words()):
            yield word, known.get((word.start, word.end))

    def _reported(self, parts: Iterator[Part]) -> Iterator[Part]:
        models, begun = self._models, False
        whole = sum(len(model.encoding.ids) for model in models)
        with cancellation.polling(
            lambda: self._report(sum(model.totals.tokens for model in models), whole)
        ):
            for part in parts:
                if not begun and part.logprob is not None:
                    begun = True
                    self._begin()
                yield part

    def row(self) -> ScoredRow:
        """Return the results, once all parts were read."""
        if self._comparison:
            self._comparison.measure(self.document.text)
        own, *others = (model.summary() for model in self._models)
        other = others[0] if others else None
        return ScoredRow(self.document, own, other, self._comparison)


WriteScores = Callable[[TextScores], None]
"""Reads and writes all parts of a text, then its row."""


def score_each(
    engines: Sequence[Engine],
    documents: Sequence[TextSource],
    rules: Rules,
    write: WriteScores,
) -> None:
    """Score each document into `write`, which writes it while it is scored.

    Raises:
        LmtuiError: the rules can't be applied with this model.
        Cancelled: Ctrl-C was pressed; the output so far is complete.
    """
    for document in documents:
        with cancel_on_interrupt(), meter("scoring") as shown:
            write(TextScores(engines, document, rules, shown, shown.pause))
