"""How a training is told in the shell: as lines for people, or as JSON.

Owns the lines; their words are those of the screen. Knows no process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from lmtui import notation
from lmtui.cli.output import Output
from lmtui.cli.status_line import StatusLine
from lmtui.notation import lasting
from lmtui.text import visible_line
from lmtui.train import report
from lmtui.train.events import (
    Doing,
    End,
    Event,
    Failed,
    Plan,
    Skip,
    Step,
    to_fields,
)
from lmtui.tui.screens.run_drawing import home_path, report_file
from lmtui.tui.training_run import TrainingRun
from lmtui.tui.widgets.plan_view import facts_of, sample_of
from lmtui.tui.widgets.run_words import told
from lmtui.tui.widgets.wrapping import Paragraph


class View(Protocol):
    """One way of telling it."""

    def show(self, event: Event) -> None:
        """Something happened."""


class Gathered:
    """Nothing is written; what was told is known at the end."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run

    def show(self, event: Event) -> None:
        """Learn it."""
        self._run.take(event)


class JsonView:
    """Every event, one JSON object a line."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, event: Event) -> None:
        """Write it."""
        self._output.event(to_fields(event))


class ProgressView:
    """Only what takes time at the moment, on a line that is redrawn."""

    def __init__(self, status: StatusLine) -> None:
        self._status = status

    def show(self, event: Event) -> None:
        """Draw what takes time; clear it when that is over."""
        if isinstance(event, Doing):
            self._status.draw(doing_words(event))
        else:
            self._status.clear()


class LinesView:
    """Whole lines for what matters, and a line that is redrawn for the rest."""

    def __init__(self, run: TrainingRun, status: StatusLine) -> None:
        self._run = run
        self._status = status
        self._skipped: list[Skip] = []

    def show(self, event: Event) -> None:
        """Write or draw it."""
        match event:
            case Skip():
                self._skipped.append(event)
            case Plan():
                self._status.lines(plan_text(event, self._skipped))
            case Doing():
                self._status.draw(doing_words(event))
            case Step():
                self._status.draw(step_words(event, self._run.steps))
            case End() | Failed():
                self._status.clear()  # the last words are the verb's
            case _ if line := told(event):
                self._status.lines(text_of([line]))


def views_for(
    run: TrainingRun, status: StatusLine, output: Output, *, as_json: bool
) -> list[View]:
    """The ways to tell a training here: JSON goes to a program, lines to a person, and
    not both to one terminal."""
    views: list[View] = [Gathered(run)]
    if as_json or not output.is_terminal:
        views.append(JsonView(output))
    if len(views) == 1 or (status.is_terminal and not output.is_terminal):
        views.append(LinesView(run, status))
    return views


def plan_text(plan: Plan, skipped: Sequence[Skip]) -> str:
    """What would be done, and each file that is left out with its reason."""
    lines = text_of(facts_of(plan))
    for skip in skipped:
        reason = visible_line(skip.reason)
        lines += f"  {visible_line(skip.path)}: {reason}\n"
    return lines


def sample_text(plan: Plan) -> str:
    """What the model will see, with brackets around what it does not learn."""
    return text_of(sample_of(plan))


def doing_words(doing: Doing) -> str:
    """A report of work under way as words, with its share where that is known."""
    share = "" if doing.share is None else f" {doing.share:.0%}"
    return visible_line(doing.what) + share


def step_words(step: Step, steps: int) -> str:
    """A step in one line."""
    words = (
        f"step {step.step:,} of {steps:,}",
        f"loss {notation.rate(step.loss)}",
        f"epoch {step.epoch:.2f}",
        f"{notation.speed(step.tokens_per_second)} tokens/s",
        f"{lasting(step.eta_seconds)} left",
    )
    return " · ".join(words)


def outcome_text(run: TrainingRun, adapters: Path) -> str:
    """What came of a training that ended by itself."""
    end = run.end
    assert end is not None
    done = f"done after {end.step:,} of {run.steps:,} steps\n"
    if end.adapter is None:
        return f"{done}{visible_line(end.verdict)}; no adapter was written\n"
    file = report_file(adapters, end.adapter)
    lines = "".join(f"{line}\n" for line in _report_lines(file.with_suffix(".json")))
    name = visible_line(end.adapter)
    return (
        f"{done}{lines}"
        f"report: {visible_line(home_path(file))}\n"
        f"next: lmtui chat --adapter {name}\n"
        f"      lmtui complete FILE --adapter {name}\n"
    )


def _report_lines(file: Path) -> Sequence[str]:
    """The figures before and after, and what its owner has to know."""
    try:
        found = report.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    return report.to_lines(found) if found else ()


def text_of(paragraphs: Iterable[Paragraph]) -> str:
    """Paragraphs as plain lines."""
    lines = ("".join(text for text, _ in each.parts).rstrip() for each in paragraphs)
    return "".join(f"{line}\n" for line in lines)
