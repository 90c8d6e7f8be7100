"""The models and adapters that can be chosen, a line each.

Owns the columns and where the cursor stands. Knows neither where a list comes from
nor what choosing does.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from lmtui.models import catalogue
from lmtui.models.listing import HEADINGS, Row
from lmtui.models.wanted import Wanted
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import fit

EMPTY = "Looking at what is on this machine."
_WIDEST = 28  # cells of a name: a Hub id can be of any length
_RIGHT = (1, 2)  # columns of numbers


class ModelList(Vertical):
    """Headings that stay, and the rows below them."""

    DEFAULT_CSS = """
    ModelList {
        height: 1fr;
        & > Static {
            height: 1;
            padding: 0 1;
            color: $quiet;
            text-wrap: nowrap;
            text-overflow: ellipsis;
        }
        & > OptionList {
            height: 1fr;
            border: none;
            padding: 0;
            background: transparent;
            text-wrap: nowrap;
            text-overflow: ellipsis;
            scrollbar-size-vertical: 1;
            &:focus { border: none; background-tint: transparent; }
            & > .option-list--option { padding: 0 1; }
        }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: tuple[Row, ...] = ()
        self._in_use: Wanted | None = None

    def compose(self) -> ComposeResult:
        """The headings, which stay, and the list."""
        yield Static(EMPTY, markup=False)
        yield OptionList(markup=False)

    def focus(self, scroll_visible: bool = True) -> ModelList:
        """The list takes the keys."""
        self.query_one(OptionList).focus(scroll_visible)
        return self

    @property
    def row(self) -> Row | None:
        """What is under the cursor."""
        place = self.query_one(OptionList).highlighted
        return self._rows[place] if self._rows and place is not None else None

    def show(self, rows: Sequence[Row]) -> None:
        """List these; the cursor stays where it is."""
        self._rows = tuple(rows)
        self._draw()

    def mark(self, in_use: Wanted | None) -> None:
        """Mark what is in use, by the names under which it was loaded."""
        if in_use != self._in_use:
            self._in_use = in_use
            self._draw()

    def _draw(self) -> None:
        heading, lines = laid_out(self._rows, self._in_use)
        self.query_one(Static).update(Content(heading))
        options = self.query_one(OptionList)
        place = options.highlighted
        options.clear_options()
        options.add_options([Option(Content(line)) for line in lines])
        if lines:
            options.highlighted = min(place or 0, len(lines) - 1)


def laid_out(rows: Sequence[Row], in_use: Wanted | None) -> tuple[str, list[str]]:
    """The headings and the rows, in columns; a dot before the one in use."""
    table = [HEADINGS, *(tuple(map(visible_line, row.cells)) for row in rows)]
    widths = [
        min(_WIDEST, max(cell_len(cells[column]) for cells in table))
        for column in range(len(HEADINGS) - 1)
    ]
    marks = ["  ", *("● " if _is_in_use(row, in_use) else "  " for row in rows)]
    lines = [
        mark + _line(cells, widths) for mark, cells in zip(marks, table, strict=True)
    ]
    return (lines[0] if rows else EMPTY), lines[1:]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    parts = [
        fit(" " * max(0, width - cell_len(cell)) + cell, width)
        if column in _RIGHT
        else fit(cell, width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=False))
    ]
    return "  ".join([*parts, cells[-1]])


def _is_in_use(row: Row, in_use: Wanted | None) -> bool:
    wanted = row.wanted
    if in_use is None or wanted.adapter != in_use.adapter:
        return False
    return bool(wanted.adapter) or same_model(wanted.model or "", in_use.model or "")


def same_model(name: str, other: str) -> bool:
    """Whether two names are those of one model: the catalogue has two for each."""
    entry = catalogue.find(name)
    return name == other or (entry is not None and entry is catalogue.find(other))
