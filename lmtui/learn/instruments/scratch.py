"""Instrument: a small model that is trained from random weights, watched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, get_args

from lmtui import cancellation, notation
from lmtui.cancellation import cancelled_when
from lmtui.engine.protocol import Engine
from lmtui.engine.types import Candidate
from lmtui.learn.figure import (
    Chart,
    Figure,
    Words,
    bars,
    numbers,
    table,
)
from lmtui.learn.instrument import (
    Instrument,
    Material,
    Measurement,
    Options,
)
from lmtui.learn.pretrain.client import pretrain
from lmtui.learn.pretrain.request import PretrainRequest, small_text_remark
from lmtui.text import bytes_text, visible
from lmtui.train.events import (
    End,
    Event,
    Failed,
    LineName,
    PretrainStart,
    PretrainStep,
)
from lmtui.worker.requests import Context


class ScratchInstrument(Instrument):
    """A byte-level model, trained for a minute in a process of its own: its held-out
    loss beside those of models that count, samples, and the same bars at each
    snapshot."""

    NAME = "scratch"
    OPTIONS: ClassVar[Options] = {
        "seconds": 60.0,  # time of a training
        "steps": 0,  # steps of a training; 0 goes by time
        "prompt": "",  # the text whose next bytes are shown
    }
    ACTIONS: ClassVar[Mapping[str, str]] = {"train": "train"}
    SLIDES = "the snapshot"

    def __init__(self, options: Options, material: Material) -> None:
        super().__init__(options, material)
        self._seed = -1
        self._reset()

    def _reset(self) -> None:
        self._seed += 1
        self._started: PretrainStart | None = None
        self._last: PretrainStep | None = None
        self._evaluations: list[PretrainStep] = []
        self._snapshots: list[PretrainStep] = []
        self._progress = ""
        self._is_finished = self._is_running = False
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
        request = PretrainRequest(
            self.material.text,
            seconds=self.options["seconds"],
            steps=self.options["steps"] or None,
            seed=self._seed,
            prompt=self.options["prompt"],
        )

        def run(engine: Engine, context: Context) -> bool:
            if self._started is not None:  # the page was left meanwhile
                return False
            # Only a stop for good ends it: begun anew, it would lose what was watched.
            with cancelled_when(context.stopped):
                for event in pretrain(request):
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
            case PretrainStart():
                self._started = event
            case PretrainStep():
                self._last = event
                if event.losses:
                    loss = math.fsum(event.losses) / len(event.losses)
                    self._progress = (
                        f"step {event.step:,} · {event.seconds:.0f} s · training loss "
                        f"{notation.rate(loss)}"
                    )
                if event.held_out is not None:
                    self._evaluations.append(event)
                if event.snapshot is not None:
                    self._snapshots.append(event)
            case Failed():
                words = f"{event.title}: {event.detail} {event.hint}"
                self.message = visible(words)
            case End(finish="done"):
                self._is_finished = True
                self._end()
                self.done.add("trained")

    def slide(self, by: int) -> Measurement | None:
        if self._snapshots:
            last = len(self._snapshots) - 1
            now = last if self._shown is None else self._shown
            self._shown = min(last, max(0, now + by))
            if self._shown == 0 and self._is_finished:
                self.done.add("looked")
            if self._shown == last and not self._is_finished:
                self._shown = None
        return None

    @property
    def figure(self) -> Figure:
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

    def _summary(self, started: PretrainStart) -> Figure:
        last = self._last
        if not self._is_finished or last is None:
            return (Words("The training was stopped.", "strong"),)
        return (
            Words(
                f"{last.step:,} steps in {last.seconds:.0f} s: held-out loss "
                f"{notation.rate(last.held_out)} nats a byte. "
                f"{started.parameters:,} weights read {started.training_bytes:,} bytes "
                f"{last.tokens / started.training_bytes:.1f} times.",
                "strong",
            ),
        )

    def _chart(self, started: PretrainStart) -> Chart:
        levels = tuple(
            (name, getattr(started.lines, name)) for name in get_args(LineName)
        )
        return Chart(
            "Held-out loss, nats a byte",
            tuple((step.step, step.held_out or 0.0) for step in self._evaluations),
            "step",
            "loss",
            levels,
        )

    def _passed(self, loss: float) -> PretrainStep | None:
        """Return the first evaluation below a line. Before the first step, random
        weights are below ln V by chance or not at all."""
        below = (
            step
            for step in self._evaluations
            if step.step and step.held_out is not None and step.held_out < loss
        )
        return next(below, None)

    def _lines(self, started: PretrainStart) -> Figure:
        rows = []
        for name in get_args(LineName):
            nats: float = getattr(started.lines, name)
            when = ("not passed" if self._is_finished else "not yet", "")
            if (passed := self._passed(nats)) is not None:
                when = (f"step {passed.step:,}", f"{passed.seconds:.0f} s")
            bits = notation.rate(nats / notation.LN2)
            rows.append((name, notation.rate(nats), bits, *when))
        heads = numbers("nats/byte", notation.PER_BYTE.full, "passed at", "after")
        title = "When it came below each line"
        return (table(("line", *heads), rows, title=title),)

    def _snapshot(self) -> Figure:
        if not self._snapshots:
            return ()
        shown = self._snapshots[-1 if self._shown is None else self._shown]
        snapshot = shown.snapshot
        assert snapshot is not None
        sample = " ".join(_text(snapshot.prompt + snapshot.sample).split("\n"))
        probs = zip(bytes.fromhex(snapshot.top_bytes), snapshot.top_probs, strict=True)
        rows = [
            Candidate(
                byte,
                bytes_text(bytes([byte])),
                bytes([byte]),
                math.log(prob) if prob > 0 else -math.inf,
            )
            for byte, prob in probs
        ]
        return (
            Words(f"Step {shown.step:,} writes: {sample}"),
            bars(
                f"Step {shown.step:,}, after “{_text(snapshot.context)}”",
                rows,
                1 - math.fsum(snapshot.top_probs),
            ),
        )


def _text(data: str) -> str:
    """Return bytes in hexadecimal as text for a terminal; those that are no character
    show as `⟨E3 81⟩`."""
    return visible(bytes_text(bytes.fromhex(data)))
