"""Instruments as tests use them: made with options, and measured at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from lmtui.engine.document.types import ScoredSpan
from lmtui.engine.protocol import Engine
from lmtui.engine.types import ScoredToken
from lmtui.learn.figure import Table, Words
from lmtui.learn.instrument import (
    Instrument,
    Material,
    Measurement,
    run_inline,
)
from lmtui.partial import RankAbove

Made = TypeVar("Made", bound=Instrument)


def made(kind: type[Made], **options: Any) -> Made:
    """Make an instrument with the options of a page."""
    return kind(
        {**kind.OPTIONS, **options}, Material("A text. Of the course.", "course")
    )


def answer(engine: Any, measurement: Measurement | None) -> None:
    """Make the measurement that an instrument asks for; it has to ask for one."""
    assert measurement is not None
    run_inline(measurement, engine)


def own_text(kind: type[Made], written: str, /, **options: Any) -> Made:
    """Make an instrument with a text of the learner's own."""
    page = made(kind, **options)
    return kind(page.options, Material(written, "mine.txt", is_own=True))


def table_of(instrument: Instrument, number: int = 0) -> Table:
    return parts_of(instrument, Table)[number]


def bars_of(instrument: Instrument) -> Table:
    """The bars of its figure: the table with a bar behind each name."""
    tables = parts_of(instrument, Table)
    return next(table for table in tables if all(cells[1].bar for cells in table.rows))


def probs_of(table: Table) -> list[float]:
    """The probabilities that bars show, those of all others as the last."""
    return [cells[1].bar[0] for cells in table.rows]


def texts_of(table: Table) -> list[list[str]]:
    """The texts in the cells of a table, row by row."""
    return [[cell.text for cell in cells] for cells in table.rows]


def column(table: Table, heading: str) -> list[str]:
    number = [column.heading for column in table.columns].index(heading)
    return [cells[number].text for cells in table.rows]


def parts_of(instrument: Instrument, kind: type) -> list[Any]:
    return [part for part in instrument.figure if isinstance(part, kind)]


def words_of(instrument: Instrument) -> str:
    return "\n".join(part.text for part in parts_of(instrument, Words))


class Naive:
    """The numbers of a tiny random model, from one forward pass over all logits."""

    def __init__(self) -> None:
        from tests.engine import tiny

        self.engine: Engine = tiny.engine()
        self._logprobs = tiny.reference_logprobs

    def ids(self, text: str) -> tuple[int, ...]:
        return self.engine.encode(text).ids

    def logprobs(self, text: str) -> list[float]:
        ids = [*self.ids(text)]
        rows = self._logprobs("llama", ids)
        return [float(rows[n, id_]) for n, id_ in enumerate(ids[1:])]

    def ranks(self, text: str) -> list[int]:
        ids = [*self.ids(text)]
        rows = self._logprobs("llama", ids)
        return [int((rows[n] > rows[n, i]).sum()) + 1 for n, i in enumerate(ids[1:])]


class Silent:
    """An engine on a server that lists few tokens: it does not tell the scores of
    others."""

    def __init__(self, engine: Any, silent: Callable[[ScoredToken], bool]) -> None:
        self._engine, self._silent = engine, silent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def _heard(self, token: ScoredToken) -> ScoredToken:
        if not self._silent(token):
            return token
        return replace(token, logprob=None, entropy=None, rank=RankAbove(20))

    def score(self, *arguments: Any, **options: Any) -> Iterator[ScoredToken]:
        return map(self._heard, self._engine.score(*arguments, **options))

    @property
    def document(self) -> Any:
        """Itself, since it scores."""
        return self

    def score_span(self, *arguments: Any, **options: Any) -> Iterator[ScoredSpan]:
        for part in self._engine.document.score_span(*arguments, **options):
            yield replace(part, tokens=tuple(map(self._heard, part.tokens)))
