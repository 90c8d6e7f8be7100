"""From a text to what one model, or two, make of it, piece by piece.

Owns the walk through the texts: the tokens go into the totals and to a view as they
come, and nothing of them is kept. Knows the engine only through its port; how a view
looks is its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lmtui.analysis import calibration
from lmtui.analysis.compare import (
    ComparedSpan,
    Comparison,
    PlacedToken,
    alone,
    pieces,
    unit_of,
)
from lmtui.analysis.summary import Totals
from lmtui.cli.errors import stop_on_interrupt
from lmtui.cli.progress import Meter, meter
from lmtui.engine.protocol import Engine, Stop
from lmtui.engine.types import BosRule, Encoding, EngineInfo
from lmtui.engine.windows import Windows
from lmtui.files import TextSource

WORST = 20
"""How many of the most surprising places a view can show."""

ReportScored = Callable[[int, int], None]
"""Called with (tokens done, tokens in all)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a text is scored."""

    window: int | None = None
    stride: int | None = None
    bos: BosRule = "auto"
    top: int = 0
    """Alternatives wanted at each token."""


@dataclass(frozen=True, slots=True)
class Engines:
    """Who scores."""

    own: Engine
    other: Engine | None = None
    """The one to compare with."""


@dataclass(frozen=True, slots=True)
class TextAfterContext(TextSource):
    """A text that comes after something else."""

    def read(self, engine: Engine) -> tuple[Encoding, bool]:
        """It and what is before it as ids, and whether its own are those that it was
        written with."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Summary:
    """What a model makes of a whole text."""

    info: EngineInfo
    totals: Totals
    windows: Windows
    bos: bool
    before: int = 0
    """Tokens before it that are no part of it, but for BOS."""
    kept: bool | None = None
    """Whether its ids are those that it was written with; None for a file."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A text that was scored to its end."""

    document: TextSource
    summary: Summary
    other: Summary | None = None
    comparison: Comparison | None = None
    """There where there is another summary."""


class ScoreView(Protocol):
    """One way of writing scored texts."""

    @property
    def grows(self) -> bool:
        """Whether a text appears while it is scored; else only at its end."""

    def start(self, document: TextSource) -> None:
        """A text begins."""

    def piece(self, piece: ComparedSpan) -> None:
        """A part of it, the parts in their order. Its tokens have as many rows of
        alternatives as were asked for, or more."""

    def end(self, scored: Scored) -> None:
        """All its parts were seen."""


def score_all(
    engines: Engines, documents: Sequence[TextSource], rules: Rules, *, view: ScoreView
) -> None:
    """Score each document into `view`.

    Raises:
        LmtuiError: the rules can't be kept with this model.
        Cancelled: Ctrl-C was pressed; what was written so far is whole.
    """
    if not view.grows:
        _score_quietly(engines, documents, rules, view)
        return
    for document in documents:
        with stop_on_interrupt() as stop, meter("scoring") as shown:
            reading = TextScores(engines, document, rules)
            reading.into(view, stop=stop, report=shown, begun=shown.give_way)


def _score_quietly(
    engines: Engines, documents: Sequence[TextSource], rules: Rules, view: ScoreView
) -> None:
    """One meter for all texts: there is nothing else to be seen for long."""
    sizes = [len(document.text) for document in documents]
    with stop_on_interrupt() as stop, meter("scoring", unit="characters") as shown:
        for place, document in enumerate(documents):
            reading = TextScores(engines, document, rules)
            report = _part_of(shown, sum(sizes[:place]), sizes[place], sum(sizes))
            reading.into(view, stop=stop, report=report, ended=shown.clear)


def _part_of(shown: Meter, before: int, size: int, whole: int) -> ReportScored:
    def report(done: int, tokens: int) -> None:
        shown(before + size * done // max(tokens, 1), whole)

    return report


class TextScores:
    """One text, as it is scored."""

    def __init__(self, engines: Engines, document: TextSource, rules: Rules) -> None:
        self._document = document
        self._own = _Half(engines.own, document, rules)
        self._other = _Half(engines.other, document, rules) if engines.other else None
        self._comparison: Comparison | None = None
        if self._other:
            unit = unit_of(self._own.encoding, self._other.encoding)
            self._comparison = Comparison(unit, keep=WORST)

    def into(
        self,
        view: ScoreView,
        *,
        stop: Stop,
        report: ReportScored,
        begun: Callable[[], None] = lambda: None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        """Score it into `view`; `begun` is called before its first result, `ended`
        before its last."""
        halves = [half for half in (self._own, self._other) if half]
        whole = sum(len(half.encoding.ids) for half in halves)

        def stopped() -> bool:
            # Asked between layers too: the only sign of life within a window.
            report(sum(half.totals.tokens for half in halves), whole)
            return stop()

        view.start(self._document)
        scored = False
        for piece in self._pieces(stopped):
            if not scored and piece.logprob is not None:
                scored = True
                begun()
            if self._comparison:
                self._comparison.add(piece)
            view.piece(piece)
        ended()
        view.end(self._scored())

    def _pieces(self, stop: Stop) -> Iterator[ComparedSpan]:
        tokens = self._own.tokens(stop)
        if not self._other or not self._comparison:
            return alone(tokens)
        return pieces(tokens, self._other.tokens(stop), self._comparison.unit)

    def _scored(self) -> Scored:
        other = self._other.summary() if self._other else None
        return Scored(self._document, self._own.summary(), other, self._comparison)


class _Half:
    """What one model makes of a text."""

    def __init__(self, engine: Engine, document: TextSource, rules: Rules) -> None:
        self._engine, self._document, self._rules = engine, document, rules
        self._kept: bool | None = None
        if isinstance(document, TextAfterContext):
            self.encoding, self._kept = document.read(engine)
        else:
            self.encoding = engine.encode(document.text, bos=rules.bos)
        self._windows = engine.windows(
            len(self.encoding.prefix), rules.window, rules.stride
        )
        self.totals = Totals(keep=WORST)

    def tokens(self, stop: Stop) -> Iterator[PlacedToken]:
        """Its tokens, each counted."""
        scored = self._engine.score(
            self.encoding.ids,
            prefix=self.encoding.prefix,
            window=self._windows.window,
            stride=self._windows.stride,
            top=max(self._rules.top, calibration.ROWS),
            stop=stop,
        )
        for token, span in zip(scored, self.encoding.spans, strict=True):
            self.totals.add(token, span)
            yield token, span

    def summary(self) -> Summary:
        """What they add up to, once all were taken."""
        self.totals.measure(self._document.text, self.encoding.spans)
        before = len(self.encoding.prefix)
        alone = self._kept is None
        return Summary(
            info=self._engine.info,
            totals=self.totals,
            windows=self._windows,
            bos=alone and before > 0,
            before=0 if alone else before,
            kept=self._kept,
        )
