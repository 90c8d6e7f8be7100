"""The price of edits: the surprisal of edited paragraphs, before and after.

Remembers what a paragraph cost before its first edit since the text was saved. Offsets
are in code points. Knows no model and no screen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lmtui.editing.positions import paragraph_at
from lmtui.engine.text.text_diff import changed

Cost = Callable[[int, int], float | None]
"""Surprisal in bits of what begins from one offset up to another; None if unknown."""


@dataclass(frozen=True, slots=True)
class EditedPart:
    """A part of the text that was edited: one paragraph, or several in a row."""

    start: int
    end: int
    before: float | None
    """What it cost before its first edit, in bits; None if that is not known."""

    def moved(self, by: int) -> EditedPart:
        return EditedPart(self.start + by, self.end + by, self.before)


class EditCosts:
    """The edited parts of a text, in order, since it was saved."""

    def __init__(self) -> None:
        self.parts: tuple[EditedPart, ...] = ()

    def clear(self) -> None:
        self.parts = ()

    def forget_costs(self) -> None:
        """Forget what all parts cost: they were scored by another model."""
        self.parts = tuple(EditedPart(p.start, p.end, None) for p in self.parts)

    def follow(self, old: str, new: str, cost: Cost) -> None:
        """Follow an edit from one text to the next; `cost` is that of the old one."""
        first, old_end, new_end = changed(old, new)
        if first == old_end == new_end:
            return
        # 1) all paragraphs that the edit touches, and all parts that those touch
        low, high = min(first, paragraph_at(old, first)[0]), old_end
        high = max(high, paragraph_at(old, old_end)[1])
        joined = [p for p in self.parts if p.end >= low and p.start <= high]
        low = min([low, *(p.start for p in joined)])
        high = max([high, *(p.end for p in joined)])
        # 2) their cost before: known of the parts, and of what lies between now
        edges = [low, *(edge for p in joined for edge in (p.start, p.end)), high]
        gaps = zip(edges[::2], edges[1::2], strict=True)
        costs = [cost(a, b) for a, b in gaps if a < b] + [p.before for p in joined]
        before = None if None in costs else sum(c for c in costs if c is not None)
        # 3) one part in place of them; those behind move
        grown = new_end - old_end
        self.parts = (
            *(p for p in self.parts if p.end < low),
            EditedPart(low, high + grown, before),
            *(p.moved(grown) for p in self.parts if p.start > high),
        )

    def at(self, position: int) -> EditedPart | None:
        return next((p for p in self.parts if p.start <= position <= p.end), None)
