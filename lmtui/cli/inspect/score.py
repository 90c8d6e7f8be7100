"""Score texts with one model or two, and pass each part to a view as it is computed.

Tokens are not kept, only their totals. Knows the engine only through its protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lmtui import cancellation
from lmtui.analysis import calibration
from lmtui.analysis.compare import (
    ComparedSpan,
    Comparison,
    PlacedToken,
    alone,
    pieces,
    unit_of,
)
from lmtui.analysis.summary import Summary, Totals
from lmtui.cli.errors import cancel_on_interrupt
from lmtui.cli.progress import Meter, meter
from lmtui.engine.lens import LensColumn
from lmtui.engine.protocol import Engine
from lmtui.engine.types import BosRule, Encoding
from lmtui.files import TextSource

WORST = 20
"""Number of most surprising tokens that the totals keep for a view."""

ReportScored = Callable[[int, int], None]
"""Called with (tokens done, tokens in all)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules by which a text is scored: window, stride, BOS, alternatives."""

    window: int | None = None
    stride: int | None = None
    bos: BosRule = "auto"
    top: int = 0
    """Number of alternatives needed for each token."""


@dataclass(frozen=True, slots=True)
class Engines:
    """Engine that scores, and optionally one to compare it with."""

    own: Engine
    other: Engine | None = None


@dataclass(frozen=True, slots=True)
class TextAfterContext(TextSource):
    """Text that is scored after a context, which is not scored."""

    def read(self, engine: Engine) -> tuple[Encoding, bool]:
        """Return the encoding, and whether it has the ids of the text as written."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Scored:
    """Results for a text that was scored to its end."""

    document: TextSource
    summary: Summary
    other: Summary | None = None
    comparison: Comparison | None = None
    """Present exactly if `other` is."""


class ScoreView(Protocol):
    """Receiver of scored texts."""

    @property
    def grows(self) -> bool:
        """Whether the text appears while it is scored, or only at its end."""

    def start(self, document: TextSource) -> None: ...

    def piece(self, piece: ComparedSpan) -> None:
        """Take the next part. Its tokens may have more alternatives than asked for."""

    def end(self, scored: Scored) -> None: ...


def score_all(
    engines: Engines, documents: Sequence[TextSource], rules: Rules, *, view: ScoreView
) -> None:
    """Score each document into `view`.

    Raises:
        LmtuiError: the rules can't be applied with this model.
        Cancelled: Ctrl-C was pressed; the output so far is complete.
    """
    if not view.grows:
        _score_quietly(engines, documents, rules, view)
        return
    for document in documents:
        with cancel_on_interrupt(), meter("scoring") as shown:
            reading = TextScores(engines, document, rules)
            reading.into(view, report=shown, begun=shown.pause)


def _score_quietly(
    engines: Engines, documents: Sequence[TextSource], rules: Rules, view: ScoreView
) -> None:
    """Score the documents with one meter for all of them.

    The view writes nothing for long, so the meter stays.
    """
    sizes = [len(document.text) for document in documents]
    with cancel_on_interrupt(), meter("scoring", unit="characters") as shown:
        for place, document in enumerate(documents):
            reading = TextScores(engines, document, rules)
            report = _part_of(shown, sum(sizes[:place]), sizes[place], sum(sizes))
            reading.into(view, report=report, ended=shown.clear)


def _part_of(shown: Meter, before: int, size: int, whole: int) -> ReportScored:
    def report(done: int, tokens: int) -> None:
        shown(before + size * done // max(tokens, 1), whole)

    return report


class TextScores:
    """Scoring of one text by one model or two."""

    def __init__(self, engines: Engines, document: TextSource, rules: Rules) -> None:
        self._document = document
        self._own = ModelScores(engines.own, document, rules)
        self._other = (
            ModelScores(engines.other, document, rules) if engines.other else None
        )
        self._comparison: Comparison | None = None
        if self._other:
            unit = unit_of(self._own.encoding, self._other.encoding)
            self._comparison = Comparison(unit, limit=WORST)

    def into(
        self,
        view: ScoreView,
        *,
        report: ReportScored,
        begun: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Score the text into `view`.

        `begun` is called before the first part with a value, `ended` before the view's
        end.
        """
        halves = [half for half in (self._own, self._other) if half]
        whole = sum(len(half.encoding.ids) for half in halves)

        def read() -> None:
            report(sum(half.totals.tokens for half in halves), whole)

        view.start(self._document)
        scored = False
        with cancellation.polling(read):
            for piece in self._pieces():
                if not scored and piece.logprob is not None:
                    scored = True
                    begun()
                if self._comparison:
                    self._comparison.add(piece)
                view.piece(piece)
        ended()
        view.end(self._scored())

    def _pieces(self) -> Iterator[ComparedSpan]:
        tokens = self._own.tokens()
        if not self._other or not self._comparison:
            return alone(tokens)
        return pieces(tokens, self._other.tokens(), self._comparison.unit)

    def _scored(self) -> Scored:
        other = self._other.summary() if self._other else None
        if self._comparison:
            self._comparison.measure(self._document.text)
        return Scored(self._document, self._own.summary(), other, self._comparison)


class ModelScores:
    """Scoring of a text by one model, and its totals."""

    def __init__(self, engine: Engine, document: TextSource, rules: Rules) -> None:
        self._engine, self._document, self._rules = engine, document, rules
        self._kept: bool | None = None
        if isinstance(document, TextAfterContext):
            self.encoding, self._kept = document.read(engine)
        else:
            self.encoding = engine.encode(document.text, bos=rules.bos)
        self._windows = engine.info.windows(
            len(self.encoding.prefix), rules.window, rules.stride
        )
        self.totals = Totals(limit=WORST)

    def tokens(self) -> Iterator[PlacedToken]:
        """Yield the tokens with their spans, and add each to the totals."""
        scored = self._engine.score(
            self.encoding.ids,
            prefix=self.encoding.prefix,
            window=self._windows.window,
            stride=self._windows.stride,
            top_n=max(self._rules.top, calibration.ROWS),
        )
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
            window=self._windows.window,
            stride=self._windows.stride,
            top_n=max(self._rules.top, calibration.ROWS),
        )
        tokens = self._engine.describe_tokens(ids)
        for token, span, column in zip(
            tokens, self.encoding.spans, columns, strict=True
        ):
            scored = column.scored(token)
            self.totals.add(scored, span)
            yield (scored, span), column

    def summary(self) -> Summary:
        """Return the results, once all tokens were taken."""
        self.totals.measure(self._document.text, self.encoding.spans)
        before = len(self.encoding.prefix)
        alone = self._kept is None
        return Summary(
            info=self._engine.info,
            totals=self.totals,
            windows=self._windows,
            bos=alone and before > 0,
            before=0 if alone else before,
            stored=self._kept,
            rewritten=self.encoding.rewritten,
        )
