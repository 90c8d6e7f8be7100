"""A client of the engine's worker: what it hands over, and in which order.

What the worker does is tested with it; here only what its client adds: the newest
request of each slot counts. Nothing here sleeps.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

import pytest
from textual.app import App

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.models.progress import OnProgress, Progress
from lmtui.tui.engine.batches import generation_batch
from lmtui.tui.engine.client import EngineClient
from lmtui.worker.events import CountReported, Dropped, PromptReady
from lmtui.worker.generation import run_generation
from lmtui.worker.requests import Context, EngineRequest, Slot
from lmtui.worker.worker import EngineWorker
from tests.fake_writing import FakeWriter

SECONDS = 20  # until a test that waits in vain gives up
ANSWER = "one two three four five six"  # seven tokens with the end token


class Answers:
    """Stores what clients hand over, as pairs of a name and a value, in order.

    The worker puts the calls in a queue. The test's thread makes them while it waits,
    like the program's event loop: until then an answer is on its way.
    """

    def __init__(self) -> None:
        self.all: list[tuple[str, Any]] = []
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def deliver(self, call: Callable[[], object]) -> None:
        self._calls.put(call)

    def of(self, name: str, *functions: str) -> dict[str, Any]:
        """Functions to give with a request: `then`, `failed` and more. What `then`
        takes is stored as "NAME then"."""

        def storing(end: str) -> Callable[..., None]:
            return lambda value=None: self.all.append((f"{name} {end}", value))

        return {end: storing(end) for end in ("then", "failed", *functions)}

    def names(self) -> list[str]:
        return [name for name, _ in self.all]

    def values(self, name: str) -> list[Any]:
        return [value for own, value in self.all if own == name]

    def on_their_way(self) -> int:
        """How many calls wait to be made."""
        return self._calls.qsize()

    def call_next(self) -> None:
        """Make the next call, or wait for it."""
        try:
            call = self._calls.get(timeout=SECONDS)
        except Empty:
            pytest.fail(f"nothing more comes after {self.names()}")
        call()

    def wait(self, name: str) -> Any:
        """The first value of a name. Makes the calls until it is there, no more."""
        while name not in self.names():
            self.call_next()
        return self.values(name)[0]

    def drain(self) -> None:
        """Make the calls that are on their way, and wait for none."""
        while self.on_their_way():
            self.call_next()


class Gate:
    """Something to run that waits until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = Event(), Event()

    def __call__(self, *_: object) -> str:
        self.reached.set()
        assert self.opened.wait(SECONDS)
        return "through"


class Asker(EngineClient):
    """A client that asks for something in any slot, under a name."""

    def __init__(self, worker: EngineWorker, answers: Answers) -> None:
        super().__init__(worker, answers.deliver)
        self.worker, self.answers = worker, answers

    def another(self) -> Asker:
        """Another client of the worker, with the same event loop."""
        return Asker(self.worker, self.answers)

    def request(
        self, slot: Slot, name: str, run: Callable[..., Any] = str, **how: Any
    ) -> None:
        if slot is Slot.LOAD:
            self.load(lambda _: FakeWriter(), **self.answers.of(name, "progress"))
        else:
            functions = self.answers.of(name, "dropped")
            self.ask(slot, lambda *_: run(), **functions, **how)

    def pending(self) -> list[Slot]:
        return [slot for slot in Slot if self.is_pending(slot)]

    def finish(self) -> None:
        """Wait until the worker has nothing to do; what it answered is on its way.

        Asks in `Slot.SCORE`, so no other request may be there.
        """
        ends: SimpleQueue[object] = SimpleQueue()
        is_dropped = True
        while is_dropped:  # by a load
            id_ = self.worker.number()
            self.worker.ask(
                EngineRequest(
                    id=id_, slot=Slot.SCORE, run=lambda *_: None, reply=ends.put
                )
            )
            is_dropped = ends.get(timeout=SECONDS) == Dropped(id_)


@contextmanager
def running(engine: FakeWriter | None = None) -> Iterator[tuple[Answers, Asker]]:
    """A client with what it hands over, and a worker with a model."""
    answers, loading = Answers(), Answers()
    client = Asker(EngineWorker(lambda: 0.0), answers)
    try:
        loader = EngineClient(client.worker, loading.deliver)
        functions = loading.of("model", "progress")
        loader.load(lambda _: engine or FakeWriter(), **functions)
        loading.wait("model then")
        yield answers, client
    finally:
        assert client.worker.close(SECONDS)
        answers.drain()


@contextmanager
def held() -> Iterator[tuple[Answers, Asker, Gate]]:
    """The same, and the worker is held by a generation of a client that nobody hears,
    until the gate is opened."""
    gate = Gate()
    with running() as (answers, client):
        try:
            EngineClient(client.worker, Answers().deliver).ask(
                Slot.GENERATE, gate, lambda _: None
            )
            assert gate.reached.wait(SECONDS)
            yield answers, client, gate
        finally:
            gate.opened.set()


async def test_a_running_program_gets_its_answers_in_order() -> None:
    ended = asyncio.Event()
    texts: list[str] = []
    threads = {threading.current_thread()}

    def take(steps: tuple[Step, ...]) -> None:
        threads.add(threading.current_thread())
        texts.extend(step.piece for step in steps)

    def run(engine: Any, context: Context) -> object:
        turns = [ChatTurn("user", "hello")]
        return run_generation(engine, context, turns, SamplingSettings())

    answers = Answers()
    program: App[None] = App()
    worker = EngineWorker()
    async with program.run_test():
        client = EngineClient(worker, program.call_later)
        functions = answers.of("model", "progress")

        def go_on(opened: object) -> None:
            functions["then"](opened)
            client.ask(
                Slot.GENERATE, run, lambda _: ended.set(), batch=generation_batch(take)
            )

        client.load(lambda _: FakeWriter([ANSWER]), **functions | {"then": go_on})
        await asyncio.wait_for(ended.wait(), SECONDS)
        assert worker.close(SECONDS)
    assert "".join(texts) == ANSWER
    assert answers.names() == ["model then"]
    assert threads == {threading.current_thread()}


def test_batches_of_a_generation_are_told_apart() -> None:
    answers, prompt = Answers(), Prompt((104, 105), "hi")
    functions = answers.of("it", "steps", "ready", "read")
    batch = generation_batch(
        functions["steps"],
        lambda *values: functions["ready"](values),
        lambda *values: functions["read"](values),
    )
    for values in ((PromptReady(prompt, 2),), (CountReported(1, 2),), ("a", "b")):
        batch(values)
    assert answers.all == [
        ("it ready", (prompt, 2)),
        ("it read", (1, 2)),
        ("it steps", ("a", "b")),
    ]


def test_a_stop_takes_effect_within_a_token_and_loses_none() -> None:
    client: Asker

    def stop(index: int) -> None:
        if index == 3:
            assert client.stop(Slot.GENERATE)
            assert client.is_pending(Slot.GENERATE)

    def run(engine: Any, context: Context) -> object:
        turns = [ChatTurn("user", "hello")]
        return run_generation(engine, context, turns, SamplingSettings())

    with running(FakeWriter([ANSWER], on_token=stop)) as (answers, client):
        functions = answers.of("answer", "batch")
        client.ask(Slot.GENERATE, run, **functions)
        done = answers.wait("answer then")
        assert not client.is_pending(Slot.GENERATE)
    assert done.reason is FinishReason.CANCELLED and done.tokens == 3
    batches = answers.values("answer batch")[2:]  # without the prompt
    assert [len(steps) for steps in batches] == [1, 2]


def test_progress_of_a_load_is_forwarded() -> None:
    reports = [
        Progress("fetching", 0, 9),
        Progress("fetching", 4, 9),
        Progress("it is large", warning=True),
        Progress("fetching", 9, 9),
        Progress("loading", unit="layers"),
    ]

    def load(on_progress: OnProgress) -> FakeWriter:
        for report in reports:
            on_progress(report)
        return FakeWriter(name="tiny")

    with running() as (answers, client):
        client.load(load, **answers.of("model", "progress"))
        opened = answers.wait("model then")
    # On a standing clock the one in the middle is one too many.
    assert answers.values("model progress") == [reports[0], *reports[2:]]
    assert answers.names() == [*["model progress"] * 4, "model then"]
    assert opened.info.model == "tiny"
    assert opened.capabilities == FakeWriter().capabilities


@pytest.mark.parametrize("slot", Slot)
def test_a_request_is_pending_until_its_end_is_handed_over(slot: Slot) -> None:
    with running() as (answers, client):
        assert not client.pending()
        client.request(slot, "it")
        assert client.pending() == [slot]
        answers.wait("it then")
        assert not client.pending()
        assert not client.stop(slot) and not client.cancel(slot)
    assert answers.names() == ["it then"]


@pytest.mark.parametrize("slot", [Slot.LOAD, Slot.LOOK, Slot.GENERATE])
def test_request_is_dropped_while_a_model_loads(slot: Slot) -> None:
    with held() as (answers, client, gate):
        loading = Answers()
        loader = EngineClient(client.worker, loading.deliver)
        loader.load(lambda _: FakeWriter(), **loading.of("model", "progress"))
        client.request(slot, "it")
        answers.drain()
        if slot is not Slot.LOAD:
            assert not client.pending()
            assert answers.names() == ["it dropped"]
        else:
            assert client.pending() == [slot] and not answers.names()
            gate.opened.set()
            answers.wait("it then")


def test_a_request_has_ended_when_its_answer_is_taken() -> None:
    """So the one who takes it may ask the next."""
    pending: list[list[Slot]] = []
    with running() as (answers, client):

        def then(_: object) -> None:
            pending.append(client.pending())
            client.request(Slot.LOOK, "second")

        client.ask(Slot.LOOK, lambda *_: None, then)
        answers.call_next()
        assert client.pending() == [Slot.LOOK]
        answers.wait("second then")
    assert pending == [[]]
    assert answers.names() == ["second then"]


def fail() -> None:
    raise LmtuiError("it broke")


@pytest.mark.parametrize("slot", set(Slot) - {Slot.SCORE})
@pytest.mark.parametrize("run", [str, fail])
def test_answer_on_its_way_is_dropped_for_a_newer_request(
    slot: Slot, run: Callable[[], object]
) -> None:
    with running() as (answers, client):
        client.request(slot, "older", run)
        client.finish()
        assert answers.on_their_way() and client.pending() == [slot]
        client.request(slot, "newer")
        answers.wait("newer then")
        assert not client.pending()
    assert answers.names() == ["newer then"]


@pytest.mark.parametrize("slot", Slot)
def test_nothing_of_a_cancelled_request_that_waits_is_handed_over(slot: Slot) -> None:
    with held() as (answers, client, gate):
        client.request(slot, "it")
        assert client.cancel(slot)
        assert not client.pending()
        gate.opened.set()
        client.finish()
        answers.drain()
        assert not client.cancel(slot) and not client.stop(slot)
    assert not answers.names()


@pytest.mark.parametrize("runs", [True, False])
def test_nothing_of_a_cancelled_request_is_handed_over(runs: bool) -> None:
    """Neither of one that runs nor of one whose answer is on its way."""
    gate = Gate()
    with running() as (answers, client):
        client.ask(Slot.LOOK, gate, **answers.of("it"))
        assert gate.reached.wait(SECONDS)
        if not runs:
            gate.opened.set()
            client.finish()
            assert answers.on_their_way() == 1
        assert client.cancel(Slot.LOOK)
        assert not client.pending()
        gate.opened.set()
        client.request(Slot.LOOK, "next")
        answers.wait("next then")
    assert answers.names() == ["next then"]


def test_cancel_ends_the_named_slots_or_all() -> None:
    with held() as (answers, client, gate):
        client.another().request(Slot.COUNT, "other")
        for slot in (Slot.LOOK, Slot.SUGGEST, Slot.REPLACE, Slot.SPAN):
            client.request(slot, slot.name)
        assert client.cancel(Slot.REPLACE, Slot.SPAN, Slot.SCORE)
        assert client.pending() == [Slot.LOOK, Slot.SUGGEST]
        assert client.cancel()
        assert not client.pending()
        assert not client.cancel()
        gate.opened.set()
        answers.wait("other then")
        client.finish()
        answers.drain()
    assert answers.names() == ["other then"]


@pytest.mark.parametrize("slot", Slot)
def test_stopped_request_that_waits_is_dropped_at_once(slot: Slot) -> None:
    with held() as (answers, client, _):
        client.request(slot, "it")
        assert client.stop(slot)
        assert client.pending() == [slot]  # its end is on its way
        answers.drain()
        assert not client.pending()
    assert answers.names() == ([] if slot is Slot.LOAD else ["it dropped"])


def test_answer_on_its_way_is_handed_over_after_a_stop() -> None:
    with running() as (answers, client):
        client.request(Slot.LOOK, "draft")
        client.finish()
        assert answers.on_their_way() == 1
        assert client.stop(Slot.LOOK)
        answers.drain()
        assert not client.pending()
    assert answers.names() == ["draft then"]


@pytest.mark.parametrize("slot", Slot)
@pytest.mark.parametrize("same", [True, False])
def test_newer_request_of_a_slot_takes_the_place_of_its_client_alone(
    slot: Slot, same: bool
) -> None:
    """There is one model, so one load."""
    with held() as (answers, client, gate):
        newer = client if same else client.another()
        client.request(slot, "older")
        newer.request(slot, "newer")
        answers.drain()
        assert newer.pending() == [slot]
        is_displaced = same or slot is Slot.LOAD
        assert client.pending() == ([slot] if same or slot is not Slot.LOAD else [])
        gate.opened.set()
        answers.wait("newer then")
        if not is_displaced:
            answers.wait("older then")
    expected = ["newer then"] if is_displaced else ["newer then", "older then"]
    assert answers.names() == expected


def test_newer_generation_stops_the_one_of_its_client_that_runs() -> None:
    """The worker itself interrupts no generation for another."""
    stopped: list[bool] = []
    gate = Gate()

    def run(_: object, context: Context) -> None:
        gate()
        stopped.append(context.stopped())

    with running() as (answers, client):
        client.ask(Slot.GENERATE, run, **answers.of("older"))
        assert gate.reached.wait(SECONDS)
        client.request(Slot.GENERATE, "newer")
        gate.opened.set()
        answers.wait("newer then")
    assert stopped == [True] and answers.names() == ["newer then"]
