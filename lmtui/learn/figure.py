"""Figures: what an instrument shows, as frozen values.

The screen, the shell and the handout each draw them in their own way; all numbers are
in them as numbers or as text made by `lmtui.notation`. Texts are not yet made visible:
whoever draws them does that. Knows no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lmtui.engine.types import Candidate, Distribution, RankedCandidate

Tone = Literal["", "strong", "quiet", "warning", "success"]
"""How a text is set off from others."""


@dataclass(frozen=True, slots=True)
class Words:
    """A sentence, or a few."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Distribution of the next token: a bar for each of its most probable tokens."""

    title: str
    rows: tuple[Candidate, ...]
    """The most probable first; where a row has a `sampled_prob`, a second bar."""
    rest_prob: float
    """Probability of all tokens without a row."""
    rest_sampled_prob: float | None = None
    chosen: int | None = None
    """Id of the token that is marked."""
    note: str = ""
    """Words below: the entropy, the sum, the place of a token that has no row."""
    unit: str = "token"
    """What a row stands for."""
    pinned: tuple[RankedCandidate, ...] = ()
    """Rows of tokens that are shown wherever they are in the ranking."""

    @classmethod
    def of(
        cls,
        title: str,
        distribution: Distribution,
        *,
        drawn: bool = False,
        chosen: int | None = None,
        note: str = "",
        pinned: Sequence[RankedCandidate] = (),
    ) -> Bars:
        """Return the bars of a distribution that begins at its most probable token;
        with `drawn`, what the sampler draws from as well."""
        rows = distribution.candidates
        if not drawn:
            rows = tuple(row._replace(sampled_prob=None, cut=None) for row in rows)
        rest = distribution.rest_sampled_prob if drawn else None
        return cls(
            title,
            rows,
            distribution.rest_prob,
            rest,
            chosen,
            note,
            pinned=tuple(pinned),
        )


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    share: float | None = None
    """Length of a bar in this cell, 0 to 1, instead of a text; None for no bar. Its
    number stands as text in another cell of the row."""
    tone: Tone = ""
    surprisal: float | None = None
    """Bits by which the text is shaded; None for no shade."""
    second: float | None = None
    """Length of a second bar, to compare the first with; its number is text as well."""


@dataclass(frozen=True, slots=True)
class Column:
    heading: str
    right: bool = False
    """Whether its cells are aligned to the right: numbers."""
    grows: bool = False
    """Whether it takes the room that is left; for a bar, or for texts."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under headings."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    at: int | None = None
    """Row that is marked, and has to be seen where not all fit."""


@dataclass(frozen=True, slots=True)
class ShadedToken:
    text: str
    surprisal: float | None
    """Bits; None where there is none."""


@dataclass(frozen=True, slots=True)
class ShadedText:
    title: str
    tokens: tuple[ShadedToken, ...]
    at: int | None = None
    """The token that is marked."""


@dataclass(frozen=True, slots=True)
class Level:
    """Horizontal line of a chart: a value to compare with."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Line chart of one quantity, with levels to compare it with."""

    title: str
    points: tuple[tuple[float, float], ...]
    """(x, y), by rising x."""
    x_label: str
    y_label: str
    levels: tuple[Level, ...] = ()
    log_x: bool = False


Part = Words | Bars | Table | ShadedText | Chart

Figure = Sequence[Part]
"""Parts, from top to bottom."""


def row(*cells: str | Cell) -> tuple[Cell, ...]:
    """Return a row of a table; a plain text is a cell without a bar."""
    return tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in cells)
