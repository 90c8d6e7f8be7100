"""Tasks take turns, wait, end and fail without disturbing each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from threading import Event

import pytest

from lmtui import cancellation
from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError, Unavailable
from lmtui.serve.scheduler import SHORT, Scheduler, Steps, Task
from lmtui.worker.events import Answer
from lmtui.worker.worker import EngineWorker
from tests.fake_writing import FakeWriter

WAIT = 20


class Ticking:
    """A clock on which each look is a turn's time later."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@contextmanager
def scheduling(
    slots: int = 2,
    queue: int = 9,
    engine: FakeWriter | None = None,
    clock: Callable[[], float] | None = None,
) -> Iterator[Scheduler]:
    worker, loaded = EngineWorker(), Event()
    worker.load(
        lambda _: engine or FakeWriter(),
        lambda e: isinstance(e, Answer) and loaded.set(),
    )
    assert loaded.wait(WAIT)
    yield Scheduler(worker, slots, longest_queue=queue, clock=clock or Ticking())
    worker.close(WAIT)


class Work:
    """Tasks that write down each of their steps."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.slots: dict[str, int] = {}
        self.ends: Queue[tuple[str, LmtuiError | None]] = Queue()
        self.gate = Event()

    def task(self, name: str, steps: int = 3, **how: object) -> Task:
        def run(_: Engine, slot: int) -> Iterator[None]:
            self.slots[name] = slot
            assert self.gate.wait(WAIT)
            for index in range(steps):
                cancellation.check()
                self.done.append((name, index))
                yield

        return self.made(name, run, **how)

    def made(self, name: str, steps: Steps, **how: object) -> Task:
        return Task(steps, lambda error: self.ends.put((name, error)), **how)  # type: ignore[arg-type]

    def wait(self, count: int) -> list[tuple[str, LmtuiError | None]]:
        return [self.ends.get(timeout=WAIT) for _ in range(count)]


def test_tasks_take_turns_as_slots_allow() -> None:
    work = Work()
    with scheduling(slots=2) as scheduler:
        for name in "abc":
            scheduler.submit(work.task(name))
        work.gate.set()
        assert [name for name, _ in work.wait(3)] == ["a", "b", "c"]
    assert work.done[:4] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert work.done[-1] == ("c", 2)
    assert work.slots["a"] != work.slots["b"]
    assert work.slots["c"] == work.slots["a"]


def test_short_steps_come_before_the_next_long_one() -> None:
    now, work = 0.0, Work()

    def lasting(name: str, seconds: float) -> Task:
        def run(*_: object) -> Iterator[None]:
            nonlocal now
            assert work.gate.wait(WAIT)
            for index in range(20):
                now += seconds
                work.done.append((name, index))
                yield

        return work.made(name, run)

    with scheduling(slots=3, clock=lambda: now) as scheduler:
        scheduler.submit(lasting("long", 10.0))
        scheduler.submit(lasting("short", 0.1))
        scheduler.submit(lasting("other", 0.1))
        work.gate.set()
        assert [name for name, _ in work.wait(3)] == ["short", "other", "long"]
    assert work.done.index(("long", 1)) > work.done.index(("other", 19))
    # The short ones take turns with each other.
    assert work.done.index(("other", 1)) < work.done.index(("short", 3))


def test_brief_task_is_next() -> None:
    work = Work()
    with scheduling(slots=1) as scheduler:
        scheduler.submit(work.task("long", steps=5))
        scheduler.submit(work.task("waits"))
        scheduler.submit(work.task("brief", steps=1, brief=True))
        work.gate.set()
        work.wait(3)
    assert work.done.index(("brief", 0)) < work.done.index(("long", 2))


def test_task_gets_the_slot_that_holds_most_of_its_prompt() -> None:
    work, engine = Work(), FakeWriter(slots=3)
    for _ in engine.prefill([1, 2, 3], slot=1):
        pass
    for _ in engine.prefill([1, 2], slot=2):
        pass
    work.gate.set()
    with scheduling(slots=3, engine=engine) as scheduler:
        scheduler.submit(work.task("a", prompt=(1, 2, 3, 4)))
        scheduler.submit(work.task("b", prompt=(1, 2, 3, 4), slot=0))
        work.wait(2)
    assert work.slots == {"a": 1, "b": 0}


def test_failure_ends_one_task_alone() -> None:
    work = Work()

    def wrong(*_: object) -> Iterator[None]:
        yield
        raise LmtuiError("it does not fit")

    def bug(*_: object) -> Iterator[None]:
        yield
        raise ZeroDivisionError

    with scheduling(slots=3) as scheduler:
        scheduler.submit(work.made("wrong", wrong))
        scheduler.submit(work.made("bug", bug))
        scheduler.submit(work.task("right"))
        work.gate.set()
        ends = dict(work.wait(3))
    assert str(ends["wrong"]) == "it does not fit"
    assert "a bug in lmtui" in str(ends["bug"])
    assert ends["right"] is None


def test_stopped_task_ends_whether_it_runs_or_waits() -> None:
    work = Work()
    with scheduling(slots=1) as scheduler:
        running, waiting = work.task("runs", steps=1000), work.task("waits")
        scheduler.submit(running)
        scheduler.submit(waiting)
        scheduler.stop(waiting)
        assert work.wait(1) == [("waits", None)]
        scheduler.stop(running)
        work.gate.set()
        assert work.wait(1) == [("runs", None)]
        scheduler.submit(work.task("next", steps=1))
        assert work.wait(1) == [("next", None)]
    assert work.done[-1] == ("next", 0)


def test_queue_is_bounded_and_closes() -> None:
    work = Work()
    with scheduling(slots=1, queue=1) as scheduler:
        scheduler.submit(work.task("runs"))
        while "runs" not in work.slots:  # until it has its slot
            work.gate.wait(0.001)
        scheduler.submit(work.task("waits"))
        with pytest.raises(Unavailable, match="1 request waiting"):
            scheduler.submit(work.task("is refused"))
        scheduler.close()
        work.gate.set()
        assert {name for name, _ in work.wait(2)} == {"runs", "waits"}
        assert work.done == []
        with pytest.raises(Unavailable, match="ending"):
            scheduler.submit(work.task("is late"))


def test_long_tasks_leave_a_slot_to_short_ones() -> None:
    work = Work()
    with scheduling(slots=3) as scheduler:
        for name in "abc":
            scheduler.submit(work.task(name, steps=9, tokens=SHORT + 1))
        scheduler.submit(work.task("short", steps=1, tokens=SHORT))
        work.gate.set()
        assert work.wait(4)[0] == ("short", None)
    assert work.slots["short"] not in [work.slots[name] for name in "abc"]
    first_of_c = work.done.index(("c", 0))
    assert {("a", 8), ("b", 8)} & set(work.done[:first_of_c])


def test_the_only_slot_is_for_long_tasks_too() -> None:
    work = Work()
    work.gate.set()
    with scheduling(slots=1) as scheduler:
        scheduler.submit(work.task("long", tokens=SHORT + 1))
        assert work.wait(1) == [("long", None)]


def test_task_that_is_held_takes_no_turns_until_it_is_released() -> None:
    work = Work()
    held = work.task("held", steps=3)
    with scheduling(slots=2) as scheduler:
        scheduler.submit(held)
        while "held" not in work.slots:  # until it runs
            work.gate.wait(0.001)
        held.paused.set()
        work.gate.set()
        scheduler.submit(work.task("other", steps=20))
        assert work.wait(1) == [("other", None)]
        assert ("held", 1) not in work.done
        scheduler.resume(held)
        assert work.wait(1) == [("held", None)]
    assert work.done[-1] == ("held", 2)


def test_task_that_was_held_has_saved_no_time_up() -> None:
    work = Work()
    held, other = work.task("held", steps=40), work.task("other", steps=60)

    def released(*_: object) -> Iterator[None]:
        while work.done.count(("other", 30)) == 0:
            yield
        scheduler.resume(held)
        yield

    with scheduling(slots=3) as scheduler:
        held.paused.set()
        for task in (held, other, work.made("releases", released)):
            scheduler.submit(task)
        work.gate.set()
        work.wait(3)
    between = work.done[work.done.index(("held", 0)) : work.done.index(("held", 9))]
    assert sum(name == "other" for name, _ in between) > 5


def test_held_task_can_be_ended() -> None:
    work = Work()
    work.gate.set()
    with scheduling(slots=1) as scheduler:
        for end in (scheduler.stop, lambda _: scheduler.close()):
            task = work.task("held")
            task.paused.set()
            scheduler.submit(task)
            end(task)
            assert work.wait(1) == [("held", None)]
    assert work.done == []
