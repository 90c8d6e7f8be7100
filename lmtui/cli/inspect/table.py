"""`lmtui inspect --summary`: one row a text, and one for all together.

Owns the columns, what they are called on the command line, and that a row is written
as soon as it is known unless the rows are to be sorted. The name is last: whole in a
pipe, its end on a terminal that is too narrow. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from shutil import get_terminal_size
from typing import Any, Protocol

from lmtui import notation
from lmtui.analysis.compare import ComparedSpan, Comparison
from lmtui.analysis.summary import Totals
from lmtui.cli.inspect.score import Scored, Summary
from lmtui.cli.output import Output
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_line


@dataclass(slots=True)
class Total:
    """All texts together: means are over all their tokens."""

    files: int = 0
    own: Totals = field(default_factory=Totals)
    other: Totals = field(default_factory=Totals)
    comparison: Comparison | None = None
    last: Scored | None = None
    """The text that came last: the models are the same for all."""

    def add(self, scored: Scored) -> None:
        """Take one more text in."""
        self.files += 1
        self.last = scored
        self.own.merge(scored.summary.totals)
        if scored.other and scored.comparison:
            self.other.merge(scored.other.totals)
            self.comparison = self.comparison or Comparison("token")
            self.comparison.merge(scored.comparison)

    def summaries(self) -> list[Summary]:
        """What the one model, or the two, make of all texts."""
        if self.last is None:
            return []
        own = replace(self.last.summary, totals=self.own)
        if self.last.other is None:
            return [own]
        return [own, replace(self.last.other, totals=self.other)]


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """What a row is made from: a text, or all of them."""

    name: str
    own: Totals
    other: Totals | None = None
    comparison: Comparison | None = None

    @classmethod
    def of(cls, scored: Scored) -> SummaryLine:
        """The row of one text."""
        other = scored.other.totals if scored.other else None
        name = scored.document.name
        return cls(name, scored.summary.totals, other, scored.comparison)


@dataclass(frozen=True, slots=True)
class Column:
    """A number of each row."""

    name: str
    """As the heading and `--sort` have it."""
    width: int
    written: Callable[[Any], str]
    value: Callable[[SummaryLine], float | None]


_TOKENS = Column("tokens", 8, notation.count, lambda line: line.own.tokens)
_PERPLEXITY = Column(
    "perplexity", 11, notation.perplexity, lambda line: line.own.perplexity
)
_PER_BYTE = Column("bits/byte", 10, notation.rate, lambda line: line.own.bits_per_byte)

ALONE = (
    _TOKENS,
    Column("logprob", 13, notation.log_prob, lambda line: line.own.logprob),
    _PERPLEXITY,
    _PER_BYTE,
    Column("bits/char", 10, notation.rate, lambda line: line.own.bits_per_character),
    Column("top-1", 7, notation.percent, lambda line: line.own.calibration.accuracy(1)),
    Column(
        "ece",
        6,
        notation.percent,
        lambda line: line.own.calibration.expected_error,
    ),
)
"""The columns of one model."""


def _of_other(name: str) -> Callable[[SummaryLine], float | None]:
    return lambda line: getattr(line.other, name) if line.other else None


def _gain(line: SummaryLine) -> float | None:
    return line.comparison.bits if line.comparison else None


AGAINST = (
    _TOKENS,
    _PERPLEXITY,
    Column("other-ppl", 12, notation.perplexity, _of_other("perplexity")),
    _PER_BYTE,
    Column("other-b/b", 10, notation.rate, _of_other("bits_per_byte")),
    Column("gain", 12, notation.difference, _gain),
)
"""The columns of two; the gain is what the other one saves, in bits."""

NAME = "file"
_SHORTEST = 12  # cells of a name on a terminal

SortKey = Callable[[SummaryLine], Any]


def sort_key(column: str | None, columns: Sequence[Column]) -> SortKey | None:
    """What to sort rows by: numbers from the largest, then rows without one; names as
    they are. None where nothing was asked for.

    Raises:
        LmtuiError: there is no such column.
    """
    if column is None:
        return None
    if column == NAME:
        return lambda line: line.name
    for each in columns:
        if each.name == column:
            return lambda line: _falling(each.value(line))
    names = ", ".join([*(each.name for each in columns), NAME])
    raise LmtuiError("there is no such column", column, f"Give one of {names}.")


def _falling(value: float | None) -> tuple[bool, float]:
    return value is None, -(value or 0.0)


class Writer(Protocol):
    """One way of writing rows."""

    def begin(self) -> None:
        """The first row is about to be written."""

    def row(self, scored: Scored) -> None:
        """Write what one text adds up to."""

    def total(self, total: Total) -> None:
        """Write what all of them add up to."""


class RowsView:
    """A row at the end of each text; sorted, all at the end of the last."""

    grows = False

    def __init__(self, writer: Writer, *, key: SortKey | None = None) -> None:
        self._writer = writer
        self._key = key
        self._kept: list[Scored] = []
        self._total = Total()

    def start(self, document: TextSource) -> None:
        """Nothing: a row is written at the end."""

    def piece(self, piece: ComparedSpan) -> None:
        """Nothing: the totals have it."""

    def end(self, scored: Scored) -> None:
        """Write the row, or keep it."""
        if not self._total.files and not self._key:
            self._writer.begin()
        self._total.add(scored)
        if self._key:
            self._kept.append(scored)
        else:
            self._writer.row(scored)

    def close(self, *, whole: bool) -> None:
        """Write the rows that were kept, and the total if no text is missing."""
        if key := self._key:
            self._writer.begin()
            for scored in sorted(
                self._kept, key=lambda each: key(SummaryLine.of(each))
            ):
                self._writer.row(scored)
        if whole:
            self._writer.total(self._total)


class Table:
    """Rows for a person: numbers under their headings, the name at the end."""

    def __init__(self, output: Output, columns: Sequence[Column]) -> None:
        self._output = output
        self._columns = columns

    def begin(self) -> None:
        """Write the headings."""
        heads = "".join(f"{each.name:>{each.width}}" for each in self._columns)
        self._output.text(f"{heads}  {NAME}\n")

    def row(self, scored: Scored) -> None:
        """Write the numbers of one text."""
        self._write(SummaryLine.of(scored))

    def total(self, total: Total) -> None:
        """Write those of all, where there are several."""
        if total.files > 1:
            other = total.other if total.comparison else None
            name = f"total of {total.files}"
            self._write(SummaryLine(name, total.own, other, total.comparison))

    def _write(self, line: SummaryLine) -> None:
        cells = "".join(_cell(each, line) for each in self._columns)
        name = visible_line(line.name)
        if self._output.is_terminal:
            name = _fitted(name, get_terminal_size().columns - len(cells) - 2)
        self._output.text(f"{cells}  {name}\n")


def _fitted(name: str, width: int) -> str:
    """A name in so many cells, or a few: its end says more than its beginning."""
    from rich.cells import cell_len  # here: a pipe needs none of it

    width = max(width, _SHORTEST)
    if cell_len(name) <= width:
        return name
    while cell_len(name) >= width:
        name = name[1:]
    return f"…{name}"


def _cell(column: Column, line: SummaryLine) -> str:
    return f"{column.written(column.value(line)):>{column.width}}"
