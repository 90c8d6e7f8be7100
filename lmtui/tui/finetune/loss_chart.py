"""The loss chart: training loss as a line, held-out losses as circles.

Line and circles can be told apart without colour. Knows no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from lmtui.chart import (
    ACROSS,
    DOWN,
    label_line,
    line_rows,
    runs,
    ticks,
    whole_ticks,
)
from lmtui.train.events import Eval
from lmtui.tui.finetune.smoothed_loss import SmoothedLoss
from lmtui.tui.widgets.cells import clip, pad_to
from lmtui.tui.widgets.styled_lines import Line, Part, StyledLines

EMPTY = "The loss is drawn here from the first step on."
TITLE = "Loss, nats a token"
_HELD_OUT, _BEST = "○", "●"
LEGEND = (
    ("⠒⠒", "training", "train"),
    (_HELD_OUT, "held-out", "held-out"),
    (_BEST, "best", "best"),
)
"""Each sign, its name, and its style."""
_GUTTER = 7  # least cells left of the plot: `epoch │`
_LEAST = (24, 3)  # least cells and lines of a plot
_NARROWEST = 0.1  # least nats from top to bottom, so that noise is not magnified
_FOR_EPOCHS = 9  # height from which a second row has the epochs

ChartMarks = dict[tuple[int, int], str]
"""Circles over the line, by row and cell."""


@dataclass(frozen=True, slots=True)
class ChartScale:
    """The mapping of losses and steps to a plot of `width` cells and `rows` lines."""

    low: float
    high: float
    last: int
    """The step at the right edge."""
    width: int
    rows: int

    def dot(self, loss: float) -> int:
        """Return the Braille dots from the top."""
        share = (self.high - loss) / (self.high - self.low)
        return min(self.rows * DOWN - 1, max(0, round(share * (self.rows * DOWN - 1))))

    def cell(self, step: float) -> int:
        """Return the cells from the left."""
        dots = self.width * ACROSS - 1
        return min(dots, max(0, round(step / self.last * dots))) // ACROSS


class LossChart(StyledLines):
    HELP = """\
The line is the training loss, averaged over about ten steps; ○ is the loss of the
held-out documents, which are never trained on, and ● the best of these. Lower is
better. If the line falls while the circles rise, the model is memorising the notes.
"""
    PREFIX = "chart--"
    DEFAULT_CSS = """
    LossChart { height: 1fr; color: $foreground; }
    LossChart > .chart--title { color: $accent; text-style: bold; }
    LossChart > .chart--train { color: $loss-train; }
    LossChart > .chart--held-out { color: $loss-held-out; text-style: bold; }
    LossChart > .chart--best { color: $loss-held-out; text-style: bold; }
    LossChart > .chart--quiet { color: $quiet; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._curve = SmoothedLoss()
        self._evals: Sequence[Eval] = ()
        self._steps = 0
        self._epochs = 0.0

    def show(
        self, curve: SmoothedLoss, evals: Sequence[Eval], *, steps: int, epochs: float
    ) -> None:
        """Draw these losses; `steps` and `epochs` are those of the whole run."""
        self._curve, self._evals = curve, evals
        self._steps, self._epochs = steps, epochs
        self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        head = self._head(width)
        rows = height - len(head) - 2 - (height >= _FOR_EPOCHS)
        scored = [item for item in self._evals if math.isfinite(item.loss)]
        if not len(self._curve) and not scored:
            return [*head, [], [(clip(EMPTY, width), "quiet")]]
        if width < _LEAST[0] or rows < _LEAST[1]:
            return head
        across = self._steps_shown()
        low, high = self._bounds(across, scored)
        labels = loss_labels(low, high, rows)
        gutter = max(_GUTTER, *(cell_len(text) + 2 for _, text in labels))
        scale = ChartScale(low, high, across, width - gutter, rows)
        plot = self._plot(scale, scored, labels, gutter)
        return [*head, *plot, *self._foot(scale, gutter, epochs=height >= _FOR_EPOCHS)]

    # Legend and scales.

    def _head(self, width: int) -> list[Line]:
        legend: list[Part] = []
        for sign, name, style in LEGEND:
            legend += [("   " + sign if legend else sign, style), (f" {name}", "quiet")]
        needed = sum(cell_len(text) for text, _ in legend)
        gap = width - cell_len(TITLE) - needed
        if gap >= 3:
            return [[(TITLE, "title"), (" " * gap, ""), *legend]]
        title: Line = [(clip(TITLE, width), "title")]
        return [title, legend] if needed <= width else [title]

    def _steps_shown(self) -> int:
        """Return the step at the right edge: the last step of the run, halved as long
        as less than half of the chart would be used."""
        done = max([self._curve.end, *(item.step for item in self._evals), 1])
        shown = max(done, self._steps)
        while shown >= 2 * done and shown > 8:
            shown = -(-shown // 2)
        return shown

    def _bounds(self, across: int, scored: Sequence[Eval]) -> tuple[float, float]:
        drawn = self._curve.columns(across, 256)
        values = [value for value in drawn if value is not None]
        values += [item.loss for item in scored]
        low, high = min(values), max(values)
        spare = max(0.04 * (high - low), (_NARROWEST - (high - low)) / 2)
        return low - spare, high + spare

    # The plot.

    def _plot(
        self,
        scale: ChartScale,
        scored: Sequence[Eval],
        labels: Sequence[tuple[float, str]],
        gutter: int,
    ) -> list[Line]:
        heights = [
            None if value is None else scale.dot(value)
            for value in self._curve.columns(scale.last, scale.width * ACROSS)
        ]
        marks = marks_of(scored, scale)
        names = {scale.dot(value) // DOWN: text for value, text in labels}
        lines: list[Line] = []
        for row, dots in enumerate(line_rows(heights, scale.rows)):
            name = names.get(row)
            edge = f"{name or '':>{gutter - 2}} {'┤' if name else '│'}"
            lines.append([(edge, "quiet"), *_over(dots, marks, row)])
        return lines

    def _foot(self, scale: ChartScale, gutter: int, *, epochs: bool) -> list[Line]:
        most = max(2, scale.width // 12)
        at = {scale.cell(step): f"{step:,}" for step in whole_ticks(scale.last, most)}
        axis = "".join("┬" if cell in at else "─" for cell in range(scale.width))
        steps = label_line(sorted(at.items()), scale.width)
        foot: list[Line] = [
            [(" " * (gutter - 1) + "└" + axis, "quiet")],
            [(pad_to("step", gutter - 1) + " " + steps, "quiet")],
        ]
        if epochs and self._epochs > 0 and self._steps > 0:
            row = epoch_line(self._steps / self._epochs, scale)
            foot.append([(pad_to("epoch", gutter - 1) + "│" + row, "quiet")])
        return foot


def loss_labels(low: float, high: float, rows: int) -> list[tuple[float, str]]:
    """Return a label for about every third line, and at least two."""
    tried = (ticks(low, high, most) for most in range(max(2, rows // 3), 2 * rows))
    return next((labels for labels in tried if len(labels) > 1), [])


def marks_of(scored: Sequence[Eval], scale: ChartScale) -> ChartMarks:
    """Return the circles by row and cell; the best one is never hidden by another."""
    marks: ChartMarks = {}
    best = min(scored, key=lambda item: item.loss, default=None)
    for item in sorted(scored, key=lambda item: item is best):
        cell = (scale.dot(item.loss) // DOWN, scale.cell(item.step))
        marks[cell] = _BEST if item is best else _HELD_OUT
    return marks


def _over(dots: str, marks: ChartMarks, row: int) -> list[Part]:
    parts: list[Part] = []
    start = 0
    for (_, cell), sign in sorted(mark for mark in marks.items() if mark[0][0] == row):
        parts += _runs(dots[start:cell])
        parts.append((sign, "best" if sign == _BEST else "held-out"))
        start = cell + 1
    return [*parts, *_runs(dots[start:])]


def _runs(dots: str) -> list[Part]:
    return [(run, "" if run.isspace() else "train") for run in runs(dots)]


def epoch_line(steps: float, scale: ChartScale) -> str:
    """Return the row of epochs, each number centred between its first and last step;
    `steps` is the number of steps in an epoch."""
    line = [" "] * scale.width
    count = int(scale.last / steps) + 1
    for epoch in range(1, count + 1):
        start = scale.cell((epoch - 1) * steps) + (epoch > 1)
        end = scale.cell(epoch * steps) if epoch * steps < scale.last else scale.width
        if epoch * steps < scale.last:
            line[end] = "│"
        name = str(epoch)
        if len(name) + 2 <= end - start:
            middle = start + (end - start - len(name)) // 2
            line[middle : middle + len(name)] = name
    return "".join(line).rstrip()
