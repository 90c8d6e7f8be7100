"""The line above the status: which file, where in it, and how long it is.

Owns the words and which of them are left out first. File names are foreign and made
visible. Knows no file and no screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lmtui.notation import NONE, counted, log_prob, part_of_tokens
from lmtui.text import visible_line
from lmtui.tui.widgets.cells import clip, pack_best
from lmtui.tui.widgets.styled_lines import Line, StyledLines


@dataclass(frozen=True, slots=True)
class Place:
    """All that the line says."""

    name: str = ""
    modified: bool = False
    read_only: bool = False
    changed: bool = False
    """Whether another program has changed the file."""
    line: int = 1
    column: int = 1
    words: int = 0
    characters: int = 0
    selected: int = 0
    """Selected code points."""
    tokens: int | None = None
    """None while nobody has counted them."""
    logprob: float | None = None
    """Σ log P of the scored tokens in nats."""
    scored: int | None = None
    """How many tokens those are; None where they are all of the text."""
    stale: bool = False
    """Whether some of the numbers are from before an edit."""


class PlaceLine(StyledLines):
    """One line about the file and the cursor."""

    DEFAULT_CSS = """
    PlaceLine { height: 1; padding: 0 1; color: $foreground; background: $surface; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._place = Place()

    def show(self, place: Place) -> None:
        """Say this."""
        if place != self._place:
            self._place = place
            self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """The longest form that fits."""
        return [[(pack_best(forms(self._place), width)[0], "")]]


def forms(place: Place) -> Sequence[Sequence[str]]:
    """The same, ever shorter."""
    mark = "● " if place.modified else ""
    name = mark + visible_line(place.name or "new file")
    where = f"line {place.line:,}, column {place.column:,}"
    short = f"{place.line}:{place.column}"
    size = (counted(place.words, "word"), counted(place.characters, "character"))
    tokens = [] if place.tokens is None else [counted(place.tokens, "token")]
    total, part = _sum(place)
    notes = ["read-only"] if place.read_only else []
    if place.changed:
        notes.append("changed on disk")
    if place.selected:
        notes.append(f"{place.selected:,} selected")
    return (
        *((name, *notes, where, *size, part) for _ in part[:1]),
        (name, *notes, where, *size, *tokens, total),
        (name, *notes, where, size[0], *tokens, total),
        (name, *notes, short, size[0], total),
        (name, *notes, short, total),
        (name, *notes, short),
        (clip(name, 24), short),
    )


def _sum(place: Place) -> tuple[str, str]:
    """Σ log P of the whole text, and that of a part of it; empty where it is whole."""
    known = place.logprob is not None
    about = "≈ " if place.stale and known else ""
    nats = f"{about}{log_prob(place.logprob)} nats"
    if not known or (place.scored is not None and place.tokens is None):
        return f"Σ log P {NONE}", ""
    if place.scored is None or place.tokens is None:
        return f"Σ log P {nats}", ""
    return f"Σ log P {NONE}", f"{part_of_tokens(place.scored, place.tokens)} {nats}"
