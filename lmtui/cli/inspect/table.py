"""Tables of `lmtui inspect`; for `--summary` one row per text, and one for the total.

Rows are written as they are computed, unless they are sorted. The name comes last:
in full in a pipe, cut at its beginning on a narrow terminal. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Any

from lmtui import notation
from lmtui.cli.inspect.score import ScoredRow
from lmtui.cli.output import Output
from lmtui.errors import LmtuiError
from lmtui.text import visible_line


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    """The heading, and the name for `--sort`."""
    width: int
    written: Callable[[Any], str]
    value: Callable[[Any], float | None]
    """Returns the number of a row: of a `ScoredRow`, but for other tables."""
    is_other: bool = False
    """Whether it is one of the fields that another model has, a mapping."""


def _totals(name: str, *, other: bool = False) -> Callable[[ScoredRow], float | None]:
    def value(row: ScoredRow) -> float | None:
        summary = row.other if other else row.own
        return getattr(summary.totals, name) if summary else None

    return value


_TOKENS = Column("tokens", 8, notation.count, _totals("tokens"))
_PERPLEXITY = Column("perplexity", 11, notation.perplexity, _totals("perplexity"))
_PER_BYTE = Column("bits/byte", 10, notation.rate, _totals("bits_per_byte"))

ALONE = (
    _TOKENS,
    Column("logprob", 13, notation.log_prob, _totals("logprob")),
    _PERPLEXITY,
    _PER_BYTE,
    Column("bits/char", 10, notation.rate, _totals("bits_per_character")),
    Column("top-1", 7, notation.percent, lambda row: row.own.totals.accuracy(1)),
)
"""Columns for one model."""

AGAINST = (
    _TOKENS,
    _PERPLEXITY,
    Column("other-ppl", 12, notation.perplexity, _totals("perplexity", other=True)),
    _PER_BYTE,
    Column("other-b/b", 10, notation.rate, _totals("bits_per_byte", other=True)),
    Column(
        "gain",
        12,
        notation.difference,
        lambda row: row.comparison.bits if row.comparison else None,
    ),
)
"""Columns for two models; the gain is what the other model saves, in bits."""

NAME = "file"
_SHORTEST = 12  # cells of a name on a terminal

SortKey = Callable[[ScoredRow], Any]


def sort_key(column: str | None, columns: Sequence[Column]) -> SortKey | None:
    """Return the sort key for a column; None without a column.

    Numbers are sorted from the largest, missing ones last; names ascend.
    """
    if column is None:
        return None
    if column == NAME:
        return lambda row: row.document.name
    values = {each.name: each.value for each in columns}
    if (value := values.get(column)) is None:
        names = ", ".join([*values, NAME])
        raise LmtuiError("there is no such column", column, f"Give one of {names}.")

    def key(row: ScoredRow) -> tuple[bool, float]:
        number = value(row)
        return number is None, -(number or 0.0)

    return key


class Table:
    """Writer of rows as a table: numbers under their headings, the name at the end."""

    def __init__(
        self, output: Output, columns: Sequence[Column], name: str = NAME
    ) -> None:
        self._output = output
        self._columns = columns
        self._name = name
        self._begun = False

    def row(self, row: ScoredRow) -> None:
        self.write(row, row.document.name)

    def total(self, row: ScoredRow, files: int) -> None:
        """Write the totals, if there are several texts."""
        if files > 1:
            self.write(row, f"total of {files}")

    def write(self, row: Any, name: str, other: Any = None) -> None:
        """Write a row; `other` are fields of it that another model has."""
        if not self._begun:
            self._begun = True
            heads = "".join(
                f"{column.name:>{column.width}}" for column in self._columns
            )
            self._output.text(f"{heads}  {self._name}\n")
        rows = row, other
        cells = "".join(
            f"{column.written(column.value(rows[column.is_other])):>{column.width}}"
            for column in self._columns
        )
        name = visible_line(name)
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
