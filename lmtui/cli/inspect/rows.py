"""Rows of the verbs that score texts: as a table, JSON or tab-separated values.

Rows are written as they are computed. In a table, numbers stand under their headings,
and the name comes last: in full in a pipe, cut at its beginning on a narrow terminal.
JSON and tab-separated values have the fields of a row, by their names. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Any, Literal

from lmtui.cli.output import Output
from lmtui.text import visible_line

_SHORTEST = 12  # cells of a name on a terminal

Form = Literal["table", "json", "tsv"]
Other = Mapping[str, Any] | None
"""Fields of a row that another model has, by their names."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    """The heading, and the name for `--sort`."""
    width: int
    written: Callable[[Any], str]
    value: Callable[[Any], float | None]
    """Returns the number of a row."""
    is_other: bool = False
    """Whether it is one of the fields that another model has, a mapping."""


class Rows:
    """Writer of rows of one kind; the first one writes the headings."""

    def __init__(
        self,
        event: str,
        columns: Sequence[Column],
        name: str,
        form: Form,
    ) -> None:
        """`event` is what JSON calls a row, `name` the heading of its last cell."""
        self._event, self._columns, self._name = event, columns, name
        self.form = form
        self._output = Output()
        self._begun = False

    def write(self, row: Any, name: str, other: Other = None, **more: object) -> None:
        """Write a row, the value of a dataclass; `name` is its last cell in the table,
        and `more` are fields before its own elsewhere. `other` are the fields that
        another model has for it, None for what it has not."""
        if self.form == "table":
            self._in_table(row, name, other)
            return
        fields = {**more, **{field: getattr(row, field) for field in row.__slots__}}
        fields |= {f"other_{field}": value for field, value in (other or {}).items()}
        self.fields(fields)

    def fields(self, fields: Mapping[str, Any]) -> None:
        """Write a row of JSON or tab-separated values."""
        if self.form == "json":
            self._output.event({"event": self._event, **fields})
            return
        if not self._begun:
            self._begun = True
            self._output.tsv(fields)
        self._output.tsv(fields.values())

    def _in_table(self, row: Any, name: str, other: Other) -> None:
        if not self._begun:
            self._begun = True
            heads = "".join(f"{each.name:>{each.width}}" for each in self._columns)
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
