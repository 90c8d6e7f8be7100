"""The worker's contract: order, one end for each request, stops, loads in between.

Nothing here sleeps: a `Gate` holds the worker in the middle of a request.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Queue
from threading import Condition, Event
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui import cancellation
from lmtui.engine.protocol import Engine
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.progress import OnProgress, Progress
from lmtui.worker import events
from lmtui.worker.events import Answer, Batch, Dropped, EngineOpened, Failed
from lmtui.worker.requests import Context, EngineRequest, Slot
from lmtui.worker.worker import EngineWorker
from tests.fakes import FakeEngine
from tests.models import panics

SECONDS = 20  # until a test that waits in vain gives up
ENDS = (Answer, Failed, Dropped)
Run = Callable[[Any, Context], Any]


class Replies:
    """Stores the events of a worker's requests, and waits for them."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []
        self._changed = Condition()

    def __call__(self, event: events.Event) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def end(self, id_: int) -> events.Event:
        """The event with which a request ended."""

        def ended() -> list[events.Event]:
            return [e for e in self.events if e.id == id_ and isinstance(e, ENDS)]

        with self._changed:
            assert self._changed.wait_for(ended, SECONDS), self.events
            return ended()[0]

    def ended(self) -> list[int]:
        """The ids of the requests that ended, in that order."""
        return [e.id for e in self.events if isinstance(e, ENDS)]


class Gate:
    """Something to run that waits until it is opened."""

    def __init__(self) -> None:
        self.reached, self.opened = Event(), Event()

    def __call__(self, *_: object) -> str:
        self.reached.set()
        assert self.opened.wait(SECONDS)
        return "through"


class Asker:
    """Asks a worker; all events come to one place."""

    def __init__(self, worker: EngineWorker, replies: Replies) -> None:
        self.worker, self.replies = worker, replies

    def ask(self, slot: Slot, run: Run, **more: bool) -> int:
        id_ = self.worker.number()
        request = EngineRequest(id=id_, slot=slot, run=run, reply=self.replies, **more)  # type: ignore[arg-type]
        self.worker.ask(request)
        return id_

    def load(self, engine: object) -> int:
        return self.worker.load(lambda _: engine, self.replies)  # type: ignore[arg-type,return-value]


@contextmanager
def working(clock: Callable[[], float] = lambda: 0.0) -> Iterator[Asker]:
    asker = Asker(EngineWorker(clock), Replies())
    try:
        assert isinstance(asker.replies.end(asker.load(FakeEngine())), Answer)
        yield asker
    finally:
        assert asker.worker.close(SECONDS)


def name_of(engine: Engine, _: Context) -> str:
    return engine.info.model


def test_load_answers_with_the_engine_info() -> None:
    with working() as asker:
        opened = asker.replies.events[0]
        assert isinstance(opened, Answer) and isinstance(opened.value, EngineOpened)
        assert opened.value.info == FakeEngine().info
        assert opened.value.against is None


def test_the_most_urgent_slot_goes_first() -> None:
    """No answer is interrupted for it."""
    gate = Gate()

    def generate(engine: Engine, context: Context) -> str:
        gate()
        assert not cancellation.requested()
        return "through"

    with working() as asker:
        first = asker.ask(Slot.GENERATE, generate)
        assert gate.reached.wait(SECONDS)
        slots = [Slot.SCORE, Slot.COUNT, Slot.SPAN, Slot.PREVIEW, Slot.SUGGEST]
        ids = {asker.ask(slot, name_of): slot for slot in slots}
        gate.opened.set()
        for id_ in ids:
            assert isinstance(asker.replies.end(id_), Answer)
        order = [ids[id_] for id_ in asker.replies.ended() if id_ in ids]
    assert order == sorted(slots)
    assert asker.replies.end(first) == Answer(first, "through")


def test_the_newest_of_equally_urgent_requests_goes_first_and_none_is_lost() -> None:
    gate = Gate()
    with working() as asker:
        asker.ask(Slot.GENERATE, gate)
        assert gate.reached.wait(SECONDS)
        ids = [asker.ask(Slot.LOOK, name_of) for _ in range(3)]
        gate.opened.set()
        assert all(isinstance(asker.replies.end(id_), Answer) for id_ in ids)
        assert asker.replies.ended()[-3:] == ids[::-1]


@pytest.mark.parametrize("by", [Slot.LOOK, Slot.SCORE])
def test_request_is_interrupted_and_runs_again_after_a_more_urgent_one(
    by: Slot,
) -> None:
    """Or after a newer one of its own slot."""
    gate, runs = Gate(), []

    def score(engine: Engine, context: Context) -> str:
        runs.append(len(runs))
        if len(runs) == 1:
            gate(engine, context)
            assert cancellation.requested() and not context.stopped()
            raise Cancelled
        return "scored"

    with working() as asker:
        slow = asker.ask(Slot.SCORE, score)
        assert gate.reached.wait(SECONDS)
        other = asker.ask(by, name_of)
        gate.opened.set()
        assert asker.replies.end(slow) == Answer(slow, "scored")
        assert asker.replies.ended()[1:] == [other, slow]
    assert len(runs) == 2


@pytest.mark.parametrize("waits", [True, False])
def test_a_stopped_request_is_dropped(waits: bool) -> None:
    gate = Gate()

    def cancelled(engine: Engine, context: Context) -> None:
        gate(engine, context)
        if context.stopped():
            raise Cancelled

    with working() as asker:
        running = asker.ask(Slot.SCORE, cancelled)
        assert gate.reached.wait(SECONDS)
        waiting = asker.ask(Slot.COUNT, name_of)
        asker.worker.stop(waiting if waits else running)
        gate.opened.set()
        other = asker.replies.end(running if waits else waiting)
        assert isinstance(other, Answer)
        stopped = waiting if waits else running
        assert asker.replies.end(stopped) == Dropped(stopped)


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (LmtuiError("it is too long", "", "Shorten it."), "it is too long"),
        (RuntimeError("can't start new thread"), "no thread or process can be started"),
        (KeyError("lost"), "this is a bug in lmtui"),
        (None, "a library that runs the model broke off"),
    ],
)
def test_a_failure_ends_one_request_and_never_the_thread(
    error: Exception | None, title: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was gathered before is not lost. Without an error, a library panics."""
    recorded: list[BaseException] = []
    monkeypatch.setattr("lmtui.log.record_bug", recorded.append)

    def fail(engine: Engine, context: Context) -> None:
        context.gather("first")
        context.gather("second")
        if error is None:
            panics.panic()
        else:
            raise error

    with working() as asker:
        failed = asker.replies.end(asker.ask(Slot.LOOK, fail))
        again = asker.replies.end(asker.ask(Slot.LOOK, name_of))
    assert isinstance(failed, Failed) and failed.error.title == title
    assert failed.error.__traceback__ is None  # it would keep the model in memory
    batches = [event for event in asker.replies.events if isinstance(event, Batch)]
    assert [batch.values for batch in batches] == [("first",), ("second",)]
    assert recorded == ([error] if isinstance(error, KeyError) else [])
    assert isinstance(again, Answer)


def test_failing_reply_does_not_end_the_thread() -> None:
    def refuse(event: events.Event) -> None:
        raise RuntimeError("the screen is closed")

    with working() as asker:
        request = EngineRequest(
            id=asker.worker.number(), slot=Slot.LOOK, run=name_of, reply=refuse
        )
        asker.worker.ask(request)
        assert isinstance(asker.replies.end(asker.ask(Slot.COUNT, name_of)), Answer)


def test_without_an_engine_a_request_fails() -> None:
    replies = Replies()
    asker = Asker(EngineWorker(), replies)
    try:
        ended = replies.end(asker.ask(Slot.LOOK, name_of))
        other = replies.end(asker.ask(Slot.LOOK, name_of, other=True))
    finally:
        assert asker.worker.close(SECONDS)
    assert isinstance(ended, Failed) and ended.error.title == "no model is loaded"
    assert isinstance(other, Failed) and "compare" in other.error.title


def test_loading_an_engine_drops_what_was_asked_of_the_last() -> None:
    gate = Gate()
    with working() as asker:
        running = asker.ask(Slot.SCORE, gate)
        assert gate.reached.wait(SECONDS)
        waiting = asker.ask(Slot.LOOK, name_of)
        loading = asker.load(FakeEngine(name="second"))
        late = asker.ask(Slot.COUNT, name_of)
        gate.opened.set()
        assert asker.replies.end(waiting) == Dropped(waiting)
        assert asker.replies.end(late) == Dropped(late)
        assert isinstance(asker.replies.end(loading), Answer)
        assert asker.replies.end(running).id == running


def test_a_request_is_taken_from_when_its_engine_is_reported() -> None:
    with working() as asker:
        asked: Queue[int] = Queue()

        def reply(event: events.Event) -> None:
            asked.put(asker.ask(Slot.LOOK, name_of))

        asker.worker.load(lambda _: FakeEngine(name="second"), reply)
        id_ = asked.get(timeout=SECONDS)
        assert asker.replies.end(id_) == Answer(id_, "second")


@pytest.mark.parametrize("ends", ["by itself", "at a report", "with an error"])
def test_a_newer_load_overtakes_the_one_that_runs(ends: str) -> None:
    gate = Gate()
    outlived: list[str] = []

    def first(on_progress: OnProgress) -> FakeEngine:
        gate()
        if ends == "at a report":
            on_progress(Progress("loading"))
            outlived.append(ends)
        if ends == "with an error":
            raise LmtuiError("failed")
        return FakeEngine(name="first")

    with working() as asker:
        old = asker.worker.load(first, asker.replies)
        assert gate.reached.wait(SECONDS)
        new = asker.load(FakeEngine(name="second"))
        gate.opened.set()
        assert isinstance(asker.replies.end(new), Answer)
        name = asker.replies.end(asker.ask(Slot.LOOK, name_of))
    assert asker.replies.end(old) == Dropped(old)
    assert isinstance(name, Answer) and name.value == "second"
    assert not outlived


def test_another_load_serves_after_a_failed_one() -> None:
    def fail(on_progress: OnProgress) -> FakeEngine:
        raise LmtuiError("no such model", "x", "Name another.")

    with working() as asker:
        failed = asker.replies.end(asker.worker.load(fail, asker.replies))
        assert isinstance(failed, Failed) and failed.error.title == "no such model"
        asker.replies.end(asker.load(FakeEngine(name="second")))
        asked = asker.ask(Slot.LOOK, name_of)
        assert asker.replies.end(asked) == Answer(asked, "second")


def test_a_model_is_gone_before_the_next_is_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lmtui.worker.worker.gc", gc)
    old = [FakeEngine()]
    gone = weakref.ref(old[0])
    was_gone: list[bool] = []

    def load(on_progress: OnProgress) -> FakeEngine:
        was_gone.append(gone() is None)
        return FakeEngine()

    with working() as asker:
        first = asker.worker.load(lambda _: old.pop(), asker.replies)
        asker.replies.end(first)
        asker.replies.end(asker.ask(Slot.LOOK, name_of))
        asker.replies.end(asker.worker.load(load, asker.replies))
    assert was_gone == [True]


def test_engines_are_closed_once_they_are_not_used() -> None:
    first, second, other = FakeEngine(), FakeEngine(), FakeEngine()
    with working() as asker:
        asker.replies.end(asker.load((first, other)))
        assert not first.calls and not other.calls
        asker.replies.end(asker.load(second))
        assert first.calls == other.calls == [("close", None)]
        assert not second.calls
    assert second.calls == [("close", None)]


def test_garbage_is_collected_only_where_a_model_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each collection stops all threads, the screen's too."""
    calls: list[str] = []
    names = ("collect", "unfreeze")
    fake = SimpleNamespace(**{name: partial(calls.append, name) for name in names})
    monkeypatch.setattr("lmtui.worker.worker.gc", fake)
    with working() as asker:
        assert not calls
        asker.replies.end(asker.load(FakeEngine()))
    assert calls == ["unfreeze", "collect"]


def test_gathered_values_come_in_batches_before_the_answer() -> None:
    now = [0.0]

    def run(engine: Engine, context: Context) -> str:
        for number in range(6):
            now[0] += 0.05
            context.gather(number)
        return "end"

    with working(lambda: now[0]) as asker:
        id_ = asker.ask(Slot.SCORE, run)
        assert asker.replies.end(id_) == Answer(id_, "end")
    batches = [e.values for e in asker.replies.events if isinstance(e, Batch)]
    assert [value for values in batches for value in values] == [*range(6)]
    assert batches == [(0,), (1, 2), (3, 4), (5,)]


def test_a_preview_is_answered_between_two_tokens() -> None:
    gate = Gate()

    def generate(engine: Engine, context: Context) -> str:
        gate(engine, context)
        context.gather("token")
        return "end"

    with working() as asker:
        long = asker.ask(Slot.GENERATE, generate)
        assert gate.reached.wait(SECONDS)
        preview = asker.ask(Slot.PREVIEW, name_of)
        gate.opened.set()
        asker.replies.end(long)
    assert asker.replies.ended()[1:] == [preview, long]


def test_a_closed_worker_replies_no_more() -> None:
    gate = Gate()
    with working() as asker:
        id_ = asker.ask(Slot.SCORE, gate)
        assert gate.reached.wait(SECONDS)
        assert not asker.worker.close(0)
        gate.opened.set()
        assert asker.worker.close(SECONDS)
        late = asker.ask(Slot.LOOK, name_of)
    assert not {id_, late} & {*asker.replies.ended()}


VERBS = st.sampled_from(["load", "stop", "wait", *Slot])


@given(st.lists(VERBS, max_size=25))
def test_every_request_ends_once_whatever_is_asked(asked: list[str | Slot]) -> None:
    """Here the thread runs freely: any interleaving has to be right."""

    def run(engine: Engine, context: Context) -> None:
        context.gather("value")
        cancellation.check()

    with working() as asker:
        ids = asker.replies.ended()
        for verb in asked:
            if verb in ("load", Slot.LOAD):
                ids.append(asker.load(FakeEngine()))
            elif verb == "stop":
                asker.worker.stop(ids[-1])
            elif verb == "wait":
                asker.replies.end(ids[-1])
            else:
                assert isinstance(verb, Slot)
                ids.append(asker.ask(verb, run))
        for id_ in ids:
            asker.replies.end(id_)
    assert Counter(asker.replies.ended()) == Counter(ids)


@given(st.lists(st.sampled_from([slot for slot in Slot if slot > Slot.LOAD])))
def test_whatever_is_asked_meanwhile_each_request_comes_to_its_answer(
    slots: list[Slot],
) -> None:
    def run(engine: Engine, context: Context) -> list[int]:
        parts = list[int]()
        for part in range(5):
            cancellation.check()
            parts.append(part)
            context.gather(part)
        return parts

    with working() as asker:
        for id_ in [asker.ask(slot, run) for slot in slots]:
            assert asker.replies.end(id_) == Answer(id_, [*range(5)])
