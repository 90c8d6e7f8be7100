"""What the text adds up to: the whole, the paragraph, the selection, side by side.

Owns the table, which leaves out the least important where it is narrow, and what
stands where there is no number. The arithmetic is `engine.sums`'. Knows no engine and
no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len

from lmtui.engine.sums import Sums, bits
from lmtui.tui.widgets.cells import NONE, clip, fit, number
from lmtui.tui.widgets.styled_lines import Line, StyledLines

EMPTY = "What the text adds up to appears here."
UNSCORED = f"{NONE} nothing is scored yet"
STALE = "≈ until it is scored again"

_LONG = (
    "Σ log P, nats",
    "Σ log P, bits",
    "perplexity",
    "bits/character",
    "bits/byte",
    "tokens scored",
    "tokens in all",
)
_SHORT = ("Σ nats", "Σ bits", "perpl.", "b/char", "b/byte", "scored", "tokens")
_HUGE = 1e6  # a perplexity from here on is only an order of magnitude


class TextTotals(StyledLines):
    """A column for each part of the text, a row for each measure."""

    HELP = """\
Σ log P is the log-likelihood of the document, the paragraph and the selection; bits a
byte can be compared between models. ≈ marks sums with numbers from before an edit.
"""
    PREFIX = "totals--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {"totals--name", "totals--quiet"}
    DEFAULT_CSS = """
    TextTotals {
        height: 9;
        color: $foreground;
    }
    TextTotals > .totals--name { color: $accent; text-style: bold; }
    TextTotals > .totals--quiet { color: $quiet; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._parts: tuple[Sums, ...] = ()

    def show(self, *parts: Sums) -> None:
        """Show these, the most important first and last."""
        if parts != self._parts:
            self._parts = parts
            self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """Names, measures, and a word on what is missing."""
        if not self._parts:
            return [[(clip(EMPTY, width), "quiet")]]
        labels, parts = fitting(self._parts, width)
        columns = [(part.name, *cells_of(part)) for part in parts]
        names, *rows = zip(("", *labels), *columns, strict=True)
        widths = [max(map(cell_len, column)) for column in columns]
        first = max(map(cell_len, labels))
        table: list[Line] = [_row(names, first, widths, "name")]
        table += [_row(row, first, widths, "") for row in rows]
        return [*table, [(clip(note_of(parts), width), "quiet")]]


def _row(cells: Sequence[str], first: int, widths: Sequence[int], style: str) -> Line:
    values = (
        " " + " " * (width - cell_len(cell)) + cell
        for cell, width in zip(cells[1:], widths, strict=True)
    )
    return [(fit(cells[0], first), "quiet"), ("".join(values), style)]


def fitting(parts: Sequence[Sums], width: int) -> tuple[Sequence[str], Sequence[Sums]]:
    """The labels and the parts that are shown in so many cells: the last part, the
    smallest, stays before those in the middle."""
    ends = parts if len(parts) < 3 else (parts[0], parts[-1])
    forms = ((_LONG, parts), (_SHORT, parts), (_SHORT, ends), (_SHORT, parts[:1]))
    return next((form for form in forms if _width(*form) <= width), forms[-1])


def _width(labels: Sequence[str], parts: Sequence[Sums]) -> int:
    columns = [labels, *((part.name, *cells_of(part)) for part in parts)]
    return sum(1 + max(map(cell_len, column)) for column in columns) - 1


def cells_of(part: Sums) -> tuple[str, ...]:
    """The measures of a part as they are written, in the order of the labels."""
    nats, perplexity = part.known, part.perplexity
    huge = perplexity is not None and perplexity >= _HUGE
    told = (
        number(None if nats is None else nats + 0.0, ",.1f"),  # never −0.0
        number(None if nats is None else bits(nats), ",.1f"),
        number(perplexity, ".1e" if huge else ",.2f"),
        number(part.bits_per_character, ",.2f"),
        number(part.bits_per_byte, ",.2f"),
    )
    mark = "≈" if part.stale else ""
    return (
        *(cell if cell == NONE else mark + cell for cell in told),
        f"{part.scored:,}",
        f"{part.tokens:,}",
    )


def note_of(parts: Sequence[Sums]) -> str:
    """Why numbers are missing, or are not to be relied on; mostly nothing."""
    if not any(part.scored for part in parts):
        return UNSCORED
    return STALE if any(part.stale for part in parts) else ""
