"""Surprisal along a text, as a line: where the model was lost and where at home.

Each column of dots is the mean over the tokens that fall into it. Owns the scale. Knows
no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from lmtui.notation import bits
from lmtui.tui.widgets.axes import label_line, ticks, whole_ticks
from lmtui.tui.widgets.braille import ACROSS, DOWN, line_rows, runs
from lmtui.tui.widgets.cells import clip
from lmtui.tui.widgets.curve import bridged
from lmtui.tui.widgets.styled_lines import Line, StyledLines

TITLE = "Surprisal along the text, bits a token"
_GUTTER = 5
_LEAST = 20  # cells below which nothing is drawn


class SurprisalPlot(StyledLines):
    """Drawn from the logprobs of the tokens, in order."""

    PREFIX = "plot--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "plot--title", "plot--line", "plot--quiet",
    }  # fmt: skip
    DEFAULT_CSS = """
    SurprisalPlot { height: 7; color: $foreground; }
    SurprisalPlot > .plot--title { text-style: bold; }
    SurprisalPlot > .plot--line { color: $surprise-4; }
    SurprisalPlot > .plot--quiet { color: $quiet; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._bits: list[float | None] = []

    def show(self, logprobs: Sequence[float | None]) -> None:
        """Draw these; a token without a number has none yet."""
        self._bits = [None if each is None else bits(each) for each in logprobs]
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """The title, the line, and the numbers of the tokens below it."""
        head: list[Line] = [[(clip(TITLE, width), "title")]]
        rows, across = height - 3, width - _GUTTER
        known = [each for each in self._bits if each is not None]
        if width < _LEAST or rows < 2 or not known:
            return head
        columns = means(self._bits, across * ACROSS)
        top = max(1.0, *(value for value in columns if value is not None))
        last = rows * DOWN - 1
        heights = [
            None if value is None else round((1 - value / top) * last)
            for value in columns
        ]
        names = {
            round((1 - value / top) * last) // DOWN: label
            for value, label in ticks(0, top, 2)
        }
        plot: list[Line] = [
            [
                (f"{names.get(row, ''):>{_GUTTER - 2}} │", "quiet"),
                *((run, "" if run.isspace() else "line") for run in runs(dots)),
            ]
            for row, dots in enumerate(line_rows(heights, rows))
        ]
        return [*head, *plot, *_foot(len(self._bits), across)]


def means(values: Sequence[float | None], count: int) -> list[float | None]:
    """The values in `count` columns: the mean where several share one, a straight line
    where a column has none."""
    edges = [math.ceil(column * len(values) / count) for column in range(count + 1)]
    columns: list[float | None] = []
    for first, end in pairwise(edges):
        part = [each for each in values[first:end] if each is not None]
        columns.append(math.fsum(part) / len(part) if part else None)
    return bridged(columns)


def _foot(tokens: int, width: int) -> list[Line]:
    at = {
        min(width - 1, place * width // max(1, tokens)): f"{place:,}"
        for place in whole_ticks(tokens, max(2, width // 12))
        if place <= tokens
    }
    axis = "".join("┬" if cell in at else "─" for cell in range(width))
    names = label_line(sorted(at.items()), width)
    edge = " " * (_GUTTER - 1)
    return [[(f"{edge}└{axis}", "quiet")], [(f"{edge} {names}", "quiet")]]
