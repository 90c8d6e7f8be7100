"""What is known of a training: its events, gathered.

Owns what an event changes. What is drawn of it is the widgets'. Knows no screen and no
process.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Literal

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
from lmtui.tui.finetune.format import told
from lmtui.tui.widgets.chart import Curve
from lmtui.tui.widgets.paragraphs import Paragraph

LOG_LINES = 500
"""Lines of the log that are kept."""

Phase = Literal["preparing", "planned", "starting", "training", "paused", "over"]


class TrainingRun:
    """A run as far as its events have told."""

    def __init__(self, earlier: Iterable[Event] = ()) -> None:
        self.plan: Plan | None = None
        self.steps = 0
        """The most steps there will be; 0 while that is not known."""
        self.begun = False
        """Whether it was asked to begin, or has."""
        self.started = False
        self.paused = False
        self.step: Step | None = None
        """The last one."""
        self.resumed_from = 0
        self.evals: list[Eval] = []
        self.sample: Sample | None = None
        self.saved: int | None = None
        """The step of the last checkpoint."""
        self.doing: Doing | None = None
        """What takes time just now."""
        self.failed: Failed | None = None
        self.end: End | None = None
        self.skipped: list[Skip] = []
        self.curve = Curve()
        self.log: deque[Paragraph] = deque(maxlen=LOG_LINES)
        for event in earlier:
            self.take(event)
        # It is another process that plans, begins and ends now.
        self.plan = self.end = self.failed = self.doing = None
        self.begun = self.started = self.paused = False
        self.skipped.clear()

    @property
    def phase(self) -> Phase:
        """How far it is."""
        if self.end is not None or self.failed is not None:
            return "over"
        if self.started:
            return "paused" if self.paused else "training"
        if self.begun:
            return "starting"
        return "preparing" if self.plan is None else "planned"

    @property
    def last_step(self) -> int:
        """How many steps were made."""
        return self.step.step if self.step else self.resumed_from

    @property
    def before(self) -> Eval | None:
        """The held-out figures of the model before the first step."""
        return self.evals[0] if self.evals and self.evals[0].step == 0 else None

    @property
    def best(self) -> Eval | None:
        """The best held-out figures."""
        known = [each for each in self.evals if math.isfinite(each.loss)]
        return min(known, key=lambda each: each.loss, default=None)

    def take(self, event: Event) -> None:
        """Learn from an event."""
        if isinstance(event, Step | Eval | Sample) and event.step < self.last_step:
            return  # told before
        if (line := told(event, self.doing)) is not None:
            self.log.append(line)
        self.doing = self._doing_after(event)
        match event:
            case Skip():
                self.skipped.append(event)
            case Plan():
                self.plan, self.steps = event, event.steps
            case Start():
                self._start(event)
            case Step():
                self.step = event
                self.curve.add(event.step, event.loss)
            case Eval():
                self._keep(event)
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

    def _keep(self, scored: Eval) -> None:
        if self.evals and self.evals[-1].step == scored.step:
            self.evals.pop()  # a run that goes on scores where it left off
        self.evals.append(scored)

    def _start(self, event: Start) -> None:
        self.begun = self.started = True
        self.steps = event.steps
        if event.resumed_from is None:
            return
        self.resumed_from = first = event.resumed_from
        self.curve.cut(first)
        self.evals = [each for each in self.evals if each.step <= first]
        if self.last_step > first:
            self.step = None
        if self.sample is not None and self.sample.step > first:
            self.sample = None

    def _doing_after(self, event: Event) -> Doing | None:
        """What takes time ends where something else is told, but for asides."""
        if isinstance(event, Doing):
            return event
        return self.doing if isinstance(event, Skip | Warned | Paused) else None
