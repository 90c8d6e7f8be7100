"""The state of a training run, built from its events.

Knows no widget, no screen and no process.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmtui.train.client import WorkerProcess
from lmtui.train.events import (
    Doing,
    End,
    Eval,
    Event,
    Failed,
    Paused,
    Plan,
    Sample,
    Saved,
    Skip,
    Start,
    Step,
    Warned,
)
from lmtui.tui.finetune.format import describe_event
from lmtui.tui.finetune.smoothed_loss import SmoothedLoss
from lmtui.tui.widgets.paragraphs import Paragraph

LOG_LINES = 500
"""Most lines of the log that are kept."""

Phase = Literal["preparing", "planned", "starting", "training", "paused", "over"]


class TrainingRun:
    """The state of a run, as far as its events are known."""

    def __init__(self, earlier: Iterable[Event] = ()) -> None:
        """`earlier` are the events up to the checkpoint that it is resumed from."""
        self.plan: Plan | None = None
        self.steps = 0
        """The planned number of steps (training may stop earlier); 0 while unknown."""
        self.begun = False
        """Whether the start was requested or has happened."""
        self.started = False
        self.paused = False
        self.stopping = False
        """Whether the user has stopped it."""
        self.step: Step | None = None
        """The last step."""
        self.resumed_from = 0
        self.evals: list[Eval] = []
        self.sample: Sample | None = None
        self.saved: int | None = None
        """The step of the last checkpoint."""
        self.doing: Doing | None = None
        """The activity of the worker, if it has reported one."""
        self.failed: Failed | None = None
        self.end: End | None = None
        self.skipped: list[Skip] = []
        self.curve = SmoothedLoss()
        self.log: deque[Paragraph] = deque(maxlen=LOG_LINES)
        for event in earlier:
            self.apply(event)
        # Plan, start and end of the earlier process do not apply to the new one.
        self.plan = self.end = self.failed = self.doing = None
        self.begun = self.started = self.paused = False
        self.skipped.clear()

    @property
    def phase(self) -> Phase:
        if self.end is not None or self.failed is not None:
            return "over"
        if self.started:
            return "paused" if self.paused else "training"
        if self.begun:
            return "starting"
        return "preparing" if self.plan is None else "planned"

    @property
    def last_step(self) -> int:
        return self.step.step if self.step else self.resumed_from

    @property
    def before(self) -> Eval | None:
        """The held-out evaluation before the first step."""
        return self.evals[0] if self.evals and self.evals[0].step == 0 else None

    @property
    def best(self) -> Eval | None:
        """The held-out evaluation with the lowest loss."""
        known = [item for item in self.evals if math.isfinite(item.loss)]
        return min(known, key=lambda item: item.loss, default=None)

    def apply(self, event: Event) -> None:
        if isinstance(event, Step | Eval | Sample) and event.step < self.last_step:
            return  # repeated from before the checkpoint
        if (line := describe_event(event, self.doing)) is not None:
            self.log.append(line)
        self.doing = self._doing_after(event)
        match event:
            case Skip():
                self.skipped.append(event)
            case Plan():
                self.plan, self.steps = event, event.steps
            case Start():
                self.begun = self.started = True
                self.steps = event.steps
                self.resumed_from = event.resumed_from or 0
            case Step():
                self.step = event
                self.curve.add(event.step, event.loss)
            case Eval():
                self._add_evaluation(event)
            case Sample():
                self.sample = event
            case Saved():
                self.saved = event.step
            case Paused():
                self.paused = event.paused
            case Failed():
                self.failed = event
            case End():
                self.end = event

    def _add_evaluation(self, scored: Eval) -> None:
        if self.evals and self.evals[-1].step == scored.step:
            self.evals.pop()  # a resumed run evaluates its first step again
        self.evals.append(scored)

    def _doing_after(self, event: Event) -> Doing | None:
        """Return the activity after an event: other events than asides end it."""
        if isinstance(event, Doing):
            return event
        return self.doing if isinstance(event, Skip | Warned | Paused) else None


@dataclass(frozen=True, slots=True)
class Finetuning:
    """A training and what its screen needs to know."""

    training: WorkerProcess
    run: TrainingRun
    """As far as the training has come before, where it is resumed."""
    name: str
    """The name of the adapter."""
    adapters: Path
    """The folder that holds all adapters."""
    base: str | None = None
    """The base model, as `--model` takes it; None is the default model."""
