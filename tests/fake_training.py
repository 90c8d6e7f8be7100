"""A scripted training, for everything that shows one.

`FakeTraining` is no process: what it tells is what a test feeds it. `a_run` makes the
events of a whole run, whose numbers agree with each other as a real one's do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lmtui.train.events import (
    Continuation,
    Doing,
    End,
    Eval,
    Event,
    Piece,
    Plan,
    Sample,
    Saved,
    Skip,
    Start,
    Step,
    Warned,
)

SKIPPED = (
    Skip(".git", "hidden"),
    Skip("maps/amper.png", "binary"),
    Skip("old/copy of walks.md", "the same as walks.md"),
)
PLAN = Plan(
    run="walks",
    base="smollm2-135m-instruct",
    method="lora",
    device="cpu",
    dtype="bfloat16",
    files=12,
    skipped=len(SKIPPED),
    documents=16,
    held_out_documents=2,
    tokens=20_480,
    held_out_tokens=2_311,
    blocks=40,
    steps=30,
    epochs=3.0,
    trainable=4_884_480,
    parameters=139_400_448,
    memory=2_100_000_000,
    seconds=560.0,
    lr=2e-4,
    rank=16,
    alpha=32,
    batch=4,
    block=512,
    seed=0,
    sample=(
        Piece("user\nWhere does the Amper rise?\nassistant\n", trained=False),
        Piece("It leaves the Ammersee at Stegen.", trained=True),
        Piece("\nuser\nAnd then?\nassistant\n", trained=False),
        Piece("Past Fürstenfeldbruck, and into the Isar near Moosburg.", trained=True),
    ),
)
PROMPTS = (
    Continuation("The Amper rises in", " the mountains of the Alps and flows into", ""),
    Continuation("On the second day we", " went to the beach.\nIt was a great", ""),
    Continuation("Bread was sold only", " in the morning, and the people were", ""),
)
LEARNED = (
    " the Ammersee, leaves it at Stegen and reaches the Isar",
    " crossed the moor on the old railway dam, with wet feet",
    " in the morning, and the people were",
)


@dataclass
class FakeTraining:
    """Tells what it is fed; `asked` are the requests it got, in order."""

    asked: list[str] = field(default_factory=list)
    waiting: list[Event] = field(default_factory=list)
    running: bool = True
    polls: int = 0

    def feed(self, *events: Event) -> None:
        """Let it tell these next; after an `End` it runs no more."""
        self.waiting += events
        self.running = not any(isinstance(event, End) for event in events)

    def poll(self) -> Sequence[Event]:
        self.polls += 1
        told, self.waiting = self.waiting, []
        return told

    def go(self) -> None:
        self.asked.append("go")

    def pause(self) -> None:
        self.asked.append("pause")

    def resume(self) -> None:
        self.asked.append("resume")

    def kill(self) -> None:
        self.asked.append("kill")

    def stop(self) -> None:
        self.asked.append("stop")


def before_it(plan: Plan = PLAN, skipped: Sequence[Skip] = SKIPPED) -> Iterator[Event]:
    """What is told until it waits to begin."""
    yield Doing("reading the notes")
    yield from skipped
    yield Doing("loading the model")
    yield Doing("timing one block")
    yield plan


def steps(last: int, *, plan: Plan = PLAN, every: int = 3) -> Iterator[Event]:
    """What is told from the beginning to a step, with an evaluation every so many."""
    chance = random.Random(1)
    yield Start(plan.run, plan.steps)
    yield Doing("scoring the held-out documents", 0.5)
    yield from scored(0, plan=plan)
    yield Warned("one gradient was longer than 100")
    for step in range(1, last + 1):
        share = step / plan.steps
        yield Step(
            step=step,
            epoch=plan.epochs * share,
            loss=2.35 + 1.05 * math.exp(-4 * share) + chance.gauss(0, 0.08),
            lr=2e-4 * (1 + math.cos(math.pi * share)) / 2,
            grad_norm=0.8 + chance.random() / 2,
            tokens=2048 * step,
            tokens_per_second=212.0,
            eta_seconds=(plan.steps - step) * 9.7,
            memory=1_432_000_000,
        )
        if step % every == 0:
            yield from scored(step, plan=plan)


def scored(step: int, *, plan: Plan = PLAN) -> Iterator[Event]:
    """What is told after an evaluation: the held-out loss has its best at three
    fifths of the run, and is then a little worse."""
    share = step / plan.steps
    loss = 2.55 + 0.93 * math.exp(-5 * share) + 0.2 * max(0.0, share - 0.6)
    yield Eval(step, loss, math.exp(loss), 0.34 * loss, best=share <= 0.6)
    learned = LEARNED if step else tuple(item.before for item in PROMPTS)
    yield Sample(
        step,
        tuple(
            Continuation(item.prompt, item.before, now)
            for item, now in zip(PROMPTS, learned, strict=True)
        ),
    )
    if step:
        yield Saved(step)


def ended(plan: Plan = PLAN) -> End:
    """The end of a run that was worth it."""
    best = 3 * plan.steps // 5
    verdict = "Better on your notes, slightly worse elsewhere."
    return End("done", plan.steps, plan.run, best, verdict)
