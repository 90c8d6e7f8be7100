"""The loss chart: training loss as a line, held-out losses as circles.

Line and circles can be told apart without colour. Knows no engine and no screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len

from lmtui.chart import (
    ACROSS,
    Axes,
    Part,
    axis_lines,
    bounds,
    plot_lines,
    ticks,
    whole_ticks,
)
from lmtui.train.events import Eval
from lmtui.tui.finetune.run import TrainingRun
from lmtui.tui.widgets.cells import clip
from lmtui.tui.widgets.styled_lines import Line, StyledLines

EMPTY = "The loss is drawn here from the first step on."
TITLE = "Loss, nats a token"
_HELD_OUT, _BEST = ("○", "held-out"), ("●", "best")
LEGEND = (("⠒⠒", "line"), "training"), (_HELD_OUT, "held-out"), (_BEST, "best")
"""Each sign with its style, and its name."""
_LEAST = (24, 3)  # least cells and lines of a plot
_FOR_EPOCHS = 9  # height from which a second row has the epochs


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
    LossChart > .chart--line { color: $loss-train; }
    LossChart > .chart--held-out { color: $loss-held-out; text-style: bold; }
    LossChart > .chart--best { color: $loss-held-out; text-style: bold; }
    LossChart > .chart--quiet { color: $quiet; }
    """

    def __init__(self, run: TrainingRun, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run = run

    def lines(self, width: int, height: int) -> list[Line]:
        head = self._head(width)
        rows = height - len(head) - 2 - (height >= _FOR_EPOCHS)
        curve = self._run.curve
        scored = [item for item in self._run.evals if math.isfinite(item.loss)]
        if not len(curve) and not scored:
            return [*head, [], [(clip(EMPTY, width), "quiet")]]
        if width < _LEAST[0] or rows < _LEAST[1]:
            return head
        across = self._steps_shown()
        losses = [loss for loss in curve.columns(across, 256) if loss is not None]
        low, high = bounds([*losses, *(item.loss for item in scored)])
        labels = loss_labels(low, high, rows)
        axes = Axes(low, high, 0, across, width, rows, labels)
        values = curve.columns(across, axes.width * ACROSS)
        plot = plot_lines(values, axes, marks_of(scored, axes))
        return [*head, *plot, *self._foot(axes, epochs=height >= _FOR_EPOCHS)]

    # Legend and scales.

    def _head(self, width: int) -> list[Line]:
        legend: list[Part] = []
        for (sign, style), name in LEGEND:
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
        run = self._run
        done = max([run.curve.end, *(item.step for item in run.evals), 1])
        shown = max(done, run.steps)
        while shown >= 2 * done and shown > 8:
            shown = -(-shown // 2)
        return shown

    def _foot(self, axes: Axes, *, epochs: bool) -> list[Line]:
        most, last = max(2, axes.width // 12), int(axes.right)
        at = {axes.cell(step): f"{step:,}" for step in whole_ticks(last, most)}
        foot: list[Line] = [*axis_lines("step", at, axes)]
        run = self._run
        if epochs and run.plan is not None and run.steps > 0:
            row = epoch_line(run.steps / run.plan.epochs, axes)
            foot.append([(f"{'epoch':<{axes.gutter - 1}}│{row}", "quiet")])
        return foot


def loss_labels(low: float, high: float, rows: int) -> list[tuple[float, str]]:
    """Return a label for about every third line, and at least two."""
    tried = (ticks(low, high, most) for most in range(max(2, rows // 3), 2 * rows))
    return next((labels for labels in tried if len(labels) > 1), [])


def marks_of(scored: Sequence[Eval], axes: Axes) -> dict[tuple[int, int], Part]:
    """Return the circles by row and cell; the best one is never hidden by another."""
    best = min(scored, key=lambda item: item.loss, default=None)
    signs = sorted((item is best, item.step, item.loss) for item in scored)
    return {
        (axes.row(loss), axes.cell(step)): _BEST if is_best else _HELD_OUT
        for is_best, step, loss in signs
    }


def epoch_line(steps: float, axes: Axes) -> str:
    """Return the row of epochs, each number centred between its first and last step;
    `steps` is the number of steps in an epoch."""
    line = [" "] * axes.width
    for epoch in range(1, int(axes.right / steps) + 2):
        start = axes.cell((epoch - 1) * steps) + (epoch > 1)
        end = axes.width
        if epoch * steps < axes.right:
            end = axes.cell(epoch * steps)
            line[end] = "│"
        name = str(epoch)
        if len(name) + 2 <= end - start:
            middle = start + (end - start - len(name)) // 2
            line[middle : middle + len(name)] = name
    return "".join(line).rstrip()
