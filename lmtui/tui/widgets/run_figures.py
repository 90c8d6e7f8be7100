"""The figures of a training: the held-out ones before, now and best, and the pace.

Owns the table and what stands where there is no number. Knows no engine and no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len

from lmtui import notation
from lmtui.models.disk import size
from lmtui.notation import NONE
from lmtui.train.events import Eval, Step
from lmtui.tui.widgets.cells import clip, fit
from lmtui.tui.widgets.styled_lines import Line, StyledLines

NOTHING_HELD_OUT = "Nothing is held out to evaluate on."
_MEASURES: Sequence[tuple[str, str, Callable[[Eval], str]]] = (
    (*notation.LOSS, lambda each: notation.rate(each.loss)),
    (*notation.PERPLEXITY, lambda each: notation.perplexity(each.perplexity)),
    (*notation.PER_BYTE, lambda each: notation.rate(each.bits_per_byte)),
)
_SPEED = notation.SPEED.full
_PACE: Sequence[tuple[str, Callable[[Step], str]]] = (
    ("learning rate", lambda step: notation.number(step.lr, ".2e")),
    ("gradient norm", lambda step: notation.number(step.grad_norm, ",.3f")),
    (_SPEED, lambda step: notation.speed(step.tokens_per_second)),
    ("tokens seen", lambda step: notation.count(step.tokens)),
    ("memory", lambda step: size(step.memory)),
)
_AFTERWARDS = (_SPEED, "tokens seen")
_COLUMN = 8  # cells of a column from which the long names fit


@dataclass(frozen=True, slots=True)
class Figures:
    """What is known."""

    before: Eval | None = None
    now: Eval | None = None
    best: Eval | None = None
    step: Step | None = None
    loss: float | None = None
    """That of the training, smoothed."""
    judged: bool = True
    """Whether anything is held out."""
    over: bool = False
    """Whether no more will come."""


class RunFigures(StyledLines):
    """Held-out figures in columns, and below them how the training goes."""

    HELP = """\
The held-out documents are never trained on. Their loss is the mean of −log P a token
in nats, perplexity its exponential; bits a byte can be compared between models. Before
is the model as it was, best what will be kept.
"""
    PREFIX = "figures--"
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "figures--name",
        "figures--quiet",
        "figures--best",
    }
    DEFAULT_CSS = """
    RunFigures { height: 12; color: $foreground; }
    RunFigures > .figures--name { color: $accent; text-style: bold; }
    RunFigures > .figures--quiet { color: $quiet; }
    RunFigures > .figures--best { color: $loss-held-out; text-style: bold; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._figures = Figures()

    def show(self, figures: Figures) -> None:
        """Show these."""
        if figures != self._figures:
            self._figures = figures
            self.refresh()

    def lines(self, width: int, height: int) -> list[Line]:
        """The held-out figures, then the pace."""
        return [*self._held_out(width), [], *self._how_it_goes(width)]

    def _held_out(self, width: int) -> list[Line]:
        shown = self._figures
        if not shown.judged:
            return [[("Held-out", "name")], [(clip(NOTHING_HELD_OUT, width), "quiet")]]
        columns = (
            ("before", shown.before, ""),
            ("last" if shown.over else "now", shown.now, ""),
            ("best", shown.best, "best"),
        )
        longest = max(len(long) for long, _, _ in _MEASURES)
        wide = width >= longest + len(columns) * _COLUMN
        first = max(len(long if wide else short) for long, short, _ in _MEASURES)
        each = max(6, (width - max(first, 8)) // 3)
        first = width - 3 * each
        head: Line = [
            (fit("Held-out", first), "name"),
            *((f"{name:>{each}}", "quiet") for name, _, _ in columns),
        ]
        rows: list[Line] = [
            [
                (fit(long if wide else short, first), "quiet"),
                *(
                    (_right(value(figures) if figures else NONE, each), style)
                    for _, figures, style in columns
                ),
            ]
            for long, short, value in _MEASURES
        ]
        where = f"at step {shown.best.step:,}" if shown.best else ""
        return [head, *rows, [(_right(where, width), "quiet")]]

    def _how_it_goes(self, width: int) -> list[Line]:
        step, over = self._figures.step, self._figures.over
        pace = [("training loss", notation.rate(self._figures.loss))]
        pace += [
            (name, value(step) if step else NONE)
            for name, value in _PACE
            if not over or name in _AFTERWARDS
        ]
        return [
            [(f"{name} ", "quiet"), (_right(value, width - len(name) - 1), "")]
            for name, value in pace
        ]


def _right(text: str, width: int) -> str:
    clipped = clip(text, width)
    return " " * (width - cell_len(clipped)) + clipped
