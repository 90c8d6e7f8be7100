"""A table of totals of a text: document, paragraph and selection side by side.

Drops columns where it is narrow. The arithmetic is in
`lmtui.engine.scoring.totals`. Knows no
engine and no text.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len

from lmtui import notation
from lmtui.engine.scoring.totals import Sums
from lmtui.notation import NONE, Label
from lmtui.tui.widgets.cells import clip, pad_to
from lmtui.tui.widgets.styled_lines import Line, StyledLines

EMPTY = "What the text adds up to appears here."
UNSCORED = f"{NONE} nothing is scored yet"
STALE = "≈ until all is scored"

LABELS = (
    notation.LOG_PROB,
    notation.SURPRISAL,
    notation.PERPLEXITY,
    notation.PER_CHARACTER,
    notation.PER_BYTE,
    notation.SCORED,
    notation.TOKENS,
)
BRIEF = (notation.LOG_PROB, notation.PERPLEXITY, notation.PER_CHARACTER)


class TextTotals(StyledLines):
    HELP = """\
Σ log P is the log-likelihood of the document, the paragraph and the selection, negative
and in nats; surprisal is the same, positive and in bits. Both are shown once all tokens
are scored; perplexity (ppl) and bits a byte (bits/B), which can be compared between
models, are those of the tokens scored so far. ≈ marks numbers that will change: tokens
are still to be scored, or were scored before an edit. Fast weights give Σ log P with
small differences each time: it stands after ≈, without decimals.
"""
    PREFIX = "totals--"
    DEFAULT_CSS = """
    TextTotals {
        height: 9;
        color: $foreground;
    }
    TextTotals > .totals--name { color: $accent; text-style: bold; }
    TextTotals > .totals--quiet { color: $quiet; }
    """

    def __init__(
        self, *, id: str | None = None, rows: Sequence[Label] = LABELS
    ) -> None:
        super().__init__(id=id)
        self.parts: tuple[Sums, ...] = ()
        self._rows, self._note = rows, ""

    def show(self, *parts: Sums, note: str = "") -> None:
        """Show the totals of these parts, the most important first and last; `note`
        says why some numbers will stay as they are."""
        if (parts, note) != (self.parts, self._note):
            self.parts, self._note = parts, note
            self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        if not self.parts:
            return [[(clip(EMPTY, width), "quiet")]]
        note = self._note or note_of(self.parts)
        if not any(part.scored for part in self.parts):
            return [[(clip(note, width), "quiet")]]
        labels, parts = fitting(self.parts, width, self._rows)
        columns = [(part.name, *cells_of(part, self._rows)) for part in parts]
        names, *rows = zip(("", *labels), *columns, strict=True)
        widths = [max(map(cell_len, column)) for column in columns]
        first = max(map(cell_len, labels))
        table: list[Line] = [_row(names, first, widths, "name")]
        table += [_row(row, first, widths, "") for row in rows]
        return [*table, [(clip(note, width), "quiet")]]


def _row(cells: Sequence[str], first: int, widths: Sequence[int], style: str) -> Line:
    values = (
        " " + " " * (width - cell_len(cell)) + cell
        for cell, width in zip(cells[1:], widths, strict=True)
    )
    return [(pad_to(cells[0], first), "quiet"), ("".join(values), style)]


def fitting(
    parts: Sequence[Sums], width: int, rows: Sequence[Label] = LABELS
) -> tuple[Sequence[str], Sequence[Sums]]:
    """Return the labels and the parts that fit into `width` cells. The last part, the
    smallest, is kept before those in the middle."""
    long, short = [row.full for row in rows], [row.short for row in rows]
    ends = parts if len(parts) < 3 else (parts[0], parts[-1])
    forms = ((long, parts), (short, parts), (short, ends), (short, parts[:1]))
    return next((form for form in forms if _width(*form, rows) <= width), forms[-1])


def _width(labels: Sequence[str], parts: Sequence[Sums], rows: Sequence[Label]) -> int:
    columns = [labels, *((part.name, *cells_of(part, rows)) for part in parts)]
    return sum(1 + max(map(cell_len, column)) for column in columns) - 1


def cells_of(part: Sums, rows: Sequence[Label] = LABELS) -> tuple[str, ...]:
    values = (
        notation.log_prob(part.total, ",.0f" if part.rough else ",.2f"),
        notation.surprisal(part.total),
        notation.perplexity(part.perplexity),
        notation.rate(part.bits_per_character),
        notation.rate(part.bits_per_byte),
    )
    marks = (part.stale or part.rough, *[part.stale] * (len(values) - 1))
    cells = (
        *(
            cell if cell == NONE else "≈" * marked + cell
            for marked, cell in zip(marks, values, strict=True)
        ),
        notation.count(part.scored),
        notation.count(part.tokens),
    )
    return tuple(cells[LABELS.index(row)] for row in rows)


def note_of(parts: Sequence[Sums]) -> str:
    """Return a note on numbers that are missing or will change; "" where there are
    none."""
    if not any(part.scored for part in parts):
        return UNSCORED
    return STALE if any(part.stale for part in parts) else ""
