"""`lmtui inspect --summary`: one row per text, and one for the total.

Rows are written as they are computed, unless they are sorted. The name comes last:
in full in a pipe, cut at its beginning on a narrow terminal. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

from lmtui import notation
from lmtui.analysis.compare import ComparedSpan, Comparison
from lmtui.analysis.summary import Summary, Totals
from lmtui.cli.inspect.score import Scored
from lmtui.cli.output import Output
from lmtui.errors import LmtuiError
from lmtui.files import TextSource
from lmtui.text import visible_line

if TYPE_CHECKING:
    from lmtui.cli.inspect.json_output import JsonRows


@dataclass(slots=True)
class Total:
    """Totals over all texts; means are over all their tokens."""

    files: int = 0
    own: Totals = field(default_factory=Totals)
    other: Totals = field(default_factory=Totals)
    comparison: Comparison | None = None
    last: Scored | None = None
    """The text added last. It names the models, which are the same for all texts."""

    def add(self, scored: Scored) -> None:
        self.files += 1
        self.last = scored
        self.own.merge(scored.summary.totals)
        if scored.other and scored.comparison:
            self.other.merge(scored.other.totals)
            self.comparison = self.comparison or Comparison("token")
            self.comparison.merge(scored.comparison)

    def summaries(self) -> list[Summary]:
        """Return the totals of each model; empty before the first text."""
        if self.last is None:
            return []
        own = replace(self.last.summary, totals=self.own)
        if self.last.other is None:
            return [own]
        return [own, replace(self.last.other, totals=self.other)]


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """Values of a row: of one text, or of the total."""

    name: str
    own: Totals
    other: Totals | None = None
    comparison: Comparison | None = None

    @classmethod
    def of(cls, scored: Scored) -> SummaryLine:
        other = scored.other.totals if scored.other else None
        name = scored.document.name
        return cls(name, scored.summary.totals, other, scored.comparison)


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    """The heading, and the name for `--sort`."""
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
"""Columns for one model."""


def _of_other(name: str) -> Callable[[SummaryLine], float | None]:
    return lambda line: getattr(line.other, name) if line.other else None


AGAINST = (
    _TOKENS,
    _PERPLEXITY,
    Column("other-ppl", 12, notation.perplexity, _of_other("perplexity")),
    _PER_BYTE,
    Column("other-b/b", 10, notation.rate, _of_other("bits_per_byte")),
    Column(
        "gain",
        12,
        notation.difference,
        lambda line: line.comparison.bits if line.comparison else None,
    ),
)
"""Columns for two models; the gain is what the other model saves, in bits."""

NAME = "file"
_SHORTEST = 12  # cells of a name on a terminal

SortKey = Callable[[SummaryLine], Any]


def sort_key(column: str | None, columns: Sequence[Column]) -> SortKey | None:
    """Return the sort key for a column; None without a column.

    Numbers are sorted from the largest, missing ones last; names ascend.

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


class RowsView:
    """View that writes a row at the end of each text, or all at the end if sorted."""

    grows = False

    def __init__(self, writer: JsonRows | Table, *, key: SortKey | None = None) -> None:
        self._writer = writer
        self._key = key
        self._kept: list[Scored] = []
        self._total = Total()

    def start(self, document: TextSource) -> None:
        """Do nothing: a row is written at the end of a text."""

    def piece(self, piece: ComparedSpan) -> None:
        """Do nothing: the totals include each part."""

    def end(self, scored: Scored) -> None:
        """Write the row, or keep it for sorting."""
        if not self._total.files and not self._key:
            self._writer.begin()
        self._total.add(scored)
        if self._key:
            self._kept.append(scored)
        else:
            self._writer.row(scored)

    def close(self, *, whole: bool) -> None:
        """Write the sorted rows, and the total if `whole`: no text is missing."""
        if key := self._key:
            self._writer.begin()
            for scored in sorted(
                self._kept, key=lambda each: key(SummaryLine.of(each))
            ):
                self._writer.row(scored)
        if whole:
            self._writer.total(self._total)


class Table:
    """Writer of rows as a table: numbers under their headings, the name at the end."""

    def __init__(self, output: Output, columns: Sequence[Column]) -> None:
        self._output = output
        self._columns = columns

    def begin(self) -> None:
        heads = "".join(f"{each.name:>{each.width}}" for each in self._columns)
        self._output.text(f"{heads}  {NAME}\n")

    def row(self, scored: Scored) -> None:
        self._write(SummaryLine.of(scored))

    def total(self, total: Total) -> None:
        """Write the totals, if there are several texts."""
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
    """Cut a name at its beginning to `width` cells, but not below `_SHORTEST`."""
    from rich.cells import cell_len  # imported here: not needed in a pipe

    width = max(width, _SHORTEST)
    if cell_len(name) <= width:
        return name
    while cell_len(name) >= width:
        name = name[1:]
    return f"…{name}"


def _cell(column: Column, line: SummaryLine) -> str:
    return f"{column.written(column.value(line)):>{column.width}}"
