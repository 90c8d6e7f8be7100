"""Instrument: a small model that is trained from random weights, watched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, get_args

from lmtui import cancellation, notation
from lmtui.cancellation import cancelled_when
from lmtui.engine.protocol import Engine
from lmtui.learn.figure import Bars, Chart, Column, Figure, Level, Table, Words, row
from lmtui.learn.instrument import (
    Action,
    Instrument,
    Material,
    Measurement,
    Option,
    Options,
)
from lmtui.learn.pretrain.client import pretrain
from lmtui.learn.pretrain.events import (
    Evaluated,
    Event,
    Finished,
    LineName,
    Passed,
    Snapshot,
    Started,
    Stepped,
)
from lmtui.learn.pretrain.options import PretrainOptions, small_text_remark
from lmtui.train.events import Failed
from lmtui.worker.requests import Context

_BARS = 6


class ScratchInstrument(Instrument):
    """A byte-level model, trained for a minute in a process of its own: its held-out
    loss beside those of models that count, samples, and the same bars at each
    snapshot."""

    NAME = "scratch"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "seconds": Option("Time of a training.", float, 60.0, low=1, high=3600),
        "steps": Option("Steps of a training; 0 goes by time.", int, 0, low=0),
        "prompt": Option("The text whose next bytes are shown."),
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "trained": "a training was watched to its end",
        "looked": "the slider was moved to the first snapshot after a training",
    }
    ACTIONS: ClassVar[Sequence[Action]] = (
        Action("train", "train", "Train from new random weights, for a minute."),
    )
    SLIDES = "the snapshot"
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = (("act", "train"),)

    def __init__(self, options: Options, material: Material) -> None:
        super().__init__(options, material)
        self._seed = -1
        self._reset()

    def _reset(self) -> None:
        self._seed += 1
        self._started: Started | None = None
        self._losses: list[tuple[float, float]] = []
        self._snapshots: list[Snapshot] = []
        self._passed: list[Passed] = []
        self._progress = ""
        self._finished: Finished | None = None
        self._is_running = False
        self._shown: int | None = None  # None follows the last snapshot

    def begin(self) -> Measurement | None:
        self.message = small_text_remark(len(self.material.text.encode()))
        return None

    def act(self, action: str) -> Measurement | None:
        if self._is_running:
            self.message = "The training goes on; stop it first to begin another one."
            return None
        if self._started is not None:
            self._reset()
        self.message, self._is_running = "", True
        steps, prompt = self.options["steps"], self.options["prompt"]
        options = PretrainOptions(
            seconds=self.options["seconds"],
            steps=steps or None,
            seed=self._seed,
            prompts=(prompt,) if prompt else (),
            sample_prompt=prompt,
        )
        text = self.material.text

        def run(engine: Engine, context: Context) -> bool:
            if self._started is not None:  # the page was left meanwhile
                return False
            # Only a stop for good ends it: begun anew, it would lose what was watched.
            with cancelled_when(context.stopped):
                for event in pretrain(text, options):
                    context.emit(event)
                cancellation.check()
            return True

        self._progress = "The training is starting."
        return Measurement(
            run,
            lambda _: self._end(),
            self.hear,
            words="training",
            yields=True,
            dropped=self._end,
        )

    def _end(self) -> None:
        self._is_running, self._progress = False, ""

    def hear(self, event: Event) -> None:
        match event:
            case Started():
                self._started = event
            case Stepped():
                self._progress = (
                    f"step {event.step:,} · {event.seconds:.0f} s · training loss "
                    f"{notation.rate(event.loss)}"
                )
            case Evaluated():
                self._losses.append((event.step, event.loss))
            case Passed():
                self._passed.append(event)
            case Snapshot():
                self._snapshots.append(event)
                self._losses.append((event.step, event.loss))
            case Finished():
                self._finished = event
                self._end()
                self.done.add("trained")
            case Failed():
                self.message = f"{event.title}: {event.detail} {event.hint}"

    def slide(self, by: int) -> Measurement | None:
        if self._snapshots:
            last = len(self._snapshots) - 1
            now = last if self._shown is None else self._shown
            self._shown = min(last, max(0, now + by))
            if self._shown == 0 and self._finished is not None:
                self.done.add("looked")
            if self._shown == last and self._finished is None:
                self._shown = None
        return None

    @property
    def figure(self) -> Figure:
        """The chart, what happened, and one snapshot."""
        started = self._started
        if started is None:
            words = self._progress or "No model is trained yet."
            return (Words(words, "strong"),)
        return (
            *(
                (Words(self._progress, "strong"),)
                if self._progress
                else self._summary(started)
            ),
            *self._snapshot(),
            self._chart(started),
            *self._lines(started),
        )

    def _summary(self, started: Started) -> Figure:
        finished = self._finished
        if finished is None:
            return (Words("The training was stopped.", "strong"),)
        return (
            Words(
                f"{finished.step:,} steps in {finished.seconds:.0f} s: held-out loss "
                f"{notation.rate(finished.loss)} nats a byte. "
                f"{started.parameters:,} weights read "
                f"{started.training_bytes:,} bytes {finished.epochs:.1f} times.",
                "strong",
            ),
        )

    def _chart(self, started: Started) -> Chart:
        levels = tuple(
            Level(name, getattr(started.lines, name)) for name in get_args(LineName)
        )
        return Chart(
            "Held-out loss, nats a byte",
            tuple(self._losses),
            "step",
            "loss",
            levels,
            log_x=True,
        )

    def _lines(self, started: Started) -> Figure:
        """Return when which line was passed."""
        at = {each.line: each for each in self._passed}
        rows = []
        for name in get_args(LineName):
            passed = at.get(name)
            when = (
                ("not yet" if self._finished is None else "not passed", "")
                if passed is None
                else (f"step {passed.step:,}", f"{passed.seconds:.0f} s")
            )
            nats = getattr(started.lines, name)
            bits = notation.rate(nats / notation.LN2)
            rows.append(row(name, notation.rate(nats), bits, *when))
        columns = (
            Column("line"),
            Column("nats/byte", right=True),
            Column(notation.PER_BYTE.full, right=True),
            Column("passed at", right=True),
            Column("after", right=True),
        )
        return (Table("When it came below each line", columns, tuple(rows)),)

    def _snapshot(self) -> Figure:
        if not self._snapshots:
            return ()
        shown = self._snapshots[-1 if self._shown is None else self._shown]
        said = " ".join(f"{shown.prompt_text}{shown.sample_text}".split("\n"))
        figure: list[Words | Bars] = [Words(f"Step {shown.step:,} writes: {said}")]
        for following in shown.rows[:1]:
            whole = following.distribution
            rows = whole.candidates[:_BARS]
            rest = whole.rest_prob + sum(r.prob for r in whole.candidates[_BARS:])
            figure.append(
                Bars(
                    f"Step {shown.step:,}, after “{following.prompt_text}”",
                    tuple(each._replace(sampled_prob=None) for each in rows),
                    rest,
                    unit="byte",
                )
            )
        return figure
