"""The panel's lines as styled parts, as pure functions.

Owns the columns and the words. A part names what it is (`raw`, `cut`, …); the panel
gives it a style. Knows no widget and no colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len

from lmtui.engine.types import Candidate
from lmtui.notation import likely
from lmtui.text import visible_token
from lmtui.tui.widgets.cells import clip, fit
from lmtui.tui.widgets.panel_rows import PanelRows, bar
from lmtui.tui.widgets.styled_lines import Part

_REST = "rest"
_LEGEND = "  ▀raw ▄drawn  "  # stands exactly above the numbers
_NARROW_LEGEND = "▀raw ▄drawn"


@dataclass(frozen=True, slots=True)
class Columns:
    """Where things stand on a line of a given width."""

    token: int
    bar: int
    number: int
    drawn: bool = True
    """Whether there is a second number: of what the sampler draws from."""

    @classmethod
    def of(cls, width: int, *, drawn: bool = True) -> Columns:
        """Narrow: numbers close together, and a bar of what is left."""
        number = 6 if width >= 32 or not drawn else 5
        # A mark at either end and four spaces; a mark and two spaces without a sampler.
        room = max(0, width - (2 * number + 6 if drawn else number + 3))
        token = min(room, max(7, min(22, room * 2 // 5)))
        return cls(token, room - token, number, drawn)


def title_line(title: str, width: int, *, legend: bool, paused: bool) -> list[Part]:
    """The title, whether it is paused, and, with a legend, what the two bars are."""
    wide = Columns.of(width).number >= 6
    explained = (_LEGEND if wide else _NARROW_LEGEND) if legend else ""
    forms = (f"‖ paused {explained}", "‖ paused", "‖") if paused else (explained,)
    room = width - cell_len(title) - 1
    right = next((text for text in forms if cell_len(text) <= room), "")
    if not right:
        return [(fit(title, width), "title")]
    left = fit(title, width - cell_len(right))
    return [(left, "title"), *_legend(right)]


def row_line(
    row: Candidate, columns: Columns, *, chosen: bool, cursor: bool
) -> list[Part]:
    """One token."""
    style = "chosen" if chosen else "quiet" if row.cut else "token"
    return [
        ("●" if chosen else " ", "chosen"),
        (_token(row.text, columns.token), "cursor" if cursor else style),
        (" ", "token"),
        *_bar_parts(row.prob, row.sampled_prob, columns),
        (f" {row.cut or ' '}" if columns.drawn else "", "cut"),
    ]


@lru_cache(maxsize=4096)
def _token(text: str, width: int) -> str:
    """The text of a token in so many cells; the same ones come again and again."""
    return fit(visible_token(text), width)


def rest_line(rows: PanelRows, columns: Columns, *, chosen: bool) -> list[Part]:
    """All tokens that have no row; `chosen` where the chosen one is among them."""
    return [
        ("●" if chosen else " ", "chosen"),
        (fit(_REST, columns.token), "quiet"),
        (" ", "token"),
        *_bar_parts(rows.rest_prob, rows.rest_sampled_prob, columns),
    ]


def _legend(text: str) -> list[Part]:
    """The legend in the colours that it explains."""
    before, upper, rest = text.partition("▀")
    between, lower, after = rest.partition("▄")
    return [
        (before, "chosen"), (upper, "raw"), (between, "quiet"), (lower, "sampled"),
        (after, "quiet"),
    ]  # fmt: skip


def _bar_parts(prob: float, sampled: float | None, columns: Columns) -> list[Part]:
    """The bar and both numbers."""
    drawn = bar(prob, sampled, columns.bar)
    # Where the sampled bar reaches it lies over the raw one, in its own colour.
    over = len(drawn.rstrip(" ▀▘")) if sampled is not None else 0
    raw = likely(prob, width=columns.number)
    drawn_from = likely(sampled, width=columns.number)
    return [
        (drawn[:over], "sampled"),
        (drawn[over:] + " ", "raw"),
        (raw.rjust(columns.number) + (" " if columns.drawn else ""), "raw"),
        (drawn_from.rjust(columns.number) if columns.drawn else "", "sampled"),
    ]


def message_lines(message: str, width: int) -> list[list[Part]]:
    """A sentence, broken between words."""
    lines = [""]
    for word in message.split():
        longer = f"{lines[-1]} {word}".strip()
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(clip(word, width))
    return [[("", "quiet")], *([(line, "quiet")] for line in lines)]
