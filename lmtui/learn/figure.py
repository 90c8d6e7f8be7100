"""Figures: what an instrument shows, as frozen values.

All numbers are in them as numbers or as text made by `lmtui.notation`. Texts are not
yet made visible: `figure_lines` does that, where they are drawn. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lmtui import notation
from lmtui.engine.sampling.stages import TABLE
from lmtui.engine.types import Candidate, RankedCandidate, ScoredToken, Step
from lmtui.text import visible_token

Tone = Literal["", "strong", "quiet", "warning", "raw", "sampled", "cut"]
"""How a text is set off from others."""


@dataclass(frozen=True, slots=True)
class Words:
    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Cell:
    text: str = ""
    tone: Tone = ""
    bar: tuple[float, ...] = ()
    """Length of a bar in place of a text, 0 to 1, or of two to compare. Their numbers
    stand as texts in other cells of the row."""


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    right: bool = False
    """Whether its cells are aligned to the right: numbers."""
    grows: bool = False
    """Whether it takes the room that is left; for a bar, or for texts."""


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    longest: float = 1.0
    """The bar that fills its column; what is longer is cut, and marked so."""
    at: int | None = None
    """Row that is marked, and has to be seen where not all fit."""


@dataclass(frozen=True, slots=True)
class ShadedText:
    """A text of which each token is shaded by its surprisal."""

    title: str
    tokens: tuple[ScoredToken | Step, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """Line chart of one quantity, with levels to compare it with; its x axis is
    logarithmic."""

    title: str
    points: tuple[tuple[float, float], ...]
    """(x, y), by rising x from 0 on; y is finite."""
    x_label: str
    y_label: str
    levels: tuple[tuple[str, float], ...] = ()
    """Name and value of each."""


Part = Words | Table | ShadedText | Chart

Figure = Sequence[Part]
"""Parts, from top to bottom."""

_CUTS = {
    **{stage.mark: stage.settings[0].label for stage in TABLE},
    "b": "a ban",
    "s": "the grammar",
    "g": "greedy decoding",
}
"""The stage that cut a token, by its mark."""
_TONES: tuple[Tone, Tone] = ("raw", "sampled")


Row = Iterable[str | Cell]
"""A row of a table; a plain text is a cell without a bar."""

BAR = Column("", grows=True)
"""A column of bars."""


def numbers(*headings: str) -> tuple[Column, ...]:
    """Return columns of numbers."""
    return tuple(Column(heading, right=True) for heading in headings)


def table(
    columns: Iterable[str | Column],
    rows: Iterable[Row],
    *,
    title: str = "",
    note: str = "",
    at: int | None = None,
    longest: float = 1.0,
) -> Table:
    """Return a table; a plain text is the heading of a column of texts."""
    return Table(
        title,
        tuple(each if isinstance(each, Column) else Column(each) for each in columns),
        tuple(
            tuple(each if isinstance(each, Cell) else Cell(each) for each in row)
            for row in rows
        ),
        note,
        longest,
        at,
    )


def bars(
    title: str,
    rows: Iterable[Candidate],
    rest: float,
    *,
    rest_sampled: float | None = None,
    pinned: Iterable[RankedCandidate] = (),
    note: str = "",
) -> Table:
    """Return the distribution of the next token as bars: its most probable tokens, all
    others together, and the tokens that are shown whatever their rank. With
    `rest_sampled`, a second bar is what the sampler draws from. The longest bar of a
    token fills its column."""
    drawn = rest_sampled is not None

    def line(name: str, prob: float, sampled: float | None, last: str) -> list[Cell]:
        pair = (prob, sampled or 0.0)[: 1 + drawn]
        shown = map(Cell, map(notation.chance, pair), _TONES)
        return [Cell(name), Cell(bar=pair), *shown, Cell(last, "cut")]

    lines = [
        line(
            visible_token(token.text),
            token.prob,
            token.sampled_prob,
            _CUTS.get(token.cut or "", "") if drawn else "",
        )
        for token in rows
    ]
    pins = [
        line(
            visible_token(pin.candidate.text),
            pin.candidate.prob,
            None,
            f"rank {notation.count(pin.rank)}",
        )
        for pin in pinned
    ]
    longest = max((max(cells[1].bar) for cells in [*lines, *pins]), default=1.0)
    heads = ("token", "p", "drawn", "cut by") if drawn else ("", "", "")
    return table(
        (heads[0], BAR, *numbers(*heads[1:-1]), heads[-1]),
        [*lines, line("all others", rest, rest_sampled, ""), *pins],
        title=title,
        note=note,
        longest=longest,
    )
