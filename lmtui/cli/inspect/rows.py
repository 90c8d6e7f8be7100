"""Rows of `lmtui inspect --words` and `--pairs`: as a table, JSON or TSV.

JSON and tab-separated values have the fields of a row's dataclass, by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lmtui.cli.inspect.table import Table
from lmtui.cli.output import Output

Other = Mapping[str, Any] | None
"""Fields of a row that another model has, by their names."""


class RowWriter:
    """Writer of rows; the first one writes the headings."""

    def __init__(self, event: str, table: Table, *, json: bool, tsv: bool) -> None:
        self._event, self._table = event, table
        self._json, self._tsv = json, tsv
        self._output = Output()
        self._begun = False

    def write(self, row: Any, name: str, other: Other = None, **more: object) -> None:
        """Write a row; `name` is its last cell in the table, and `more` are fields
        before its own elsewhere. `other` are the fields that another model has for it,
        None for what it has not."""
        if not (self._json or self._tsv):
            self._table.write(row, name, other)
            return
        fields = {**more, **{field: getattr(row, field) for field in row.__slots__}}
        fields |= {f"other_{field}": value for field, value in (other or {}).items()}
        if self._json:
            self._output.event({"event": self._event, **fields})
            return
        if not self._begun:
            self._begun = True
            self._output.tsv(fields)
        self._output.tsv(fields.values())
