"""Scheduler: many clients' work for one engine, as much of its time for each.

A task is an iterator that is advanced on the worker's thread. As many tasks as the
engine has slots take turns; the others wait, first come, first served, but long ones
leave a slot to short ones. A step may take longer than a turn, so the next turn is of
the task that has had the least time, as in fair queueing. Knows no HTTP.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Event as Flag
from threading import Lock

from lmtui.cancellation import cancelled_when
from lmtui.engine.protocol import Engine
from lmtui.errors import Cancelled, LmtuiError, Unavailable
from lmtui.notation import counted
from lmtui.worker.events import Answer, Event, Failed
from lmtui.worker.requests import Context, EngineRequest, Slot
from lmtui.worker.throttle import Clock
from lmtui.worker.worker import EngineWorker

TURN = 0.05
"""Seconds of a turn, about: it ends with the first step after them."""
SHORT = 512
"""Tokens that a short task reads and writes, at the most."""

Steps = Callable[[Engine, int], Iterator[None]]
"""Does the work with a slot of the engine, step by step; other tasks may run between
two steps."""


@dataclass(eq=False)
class Task:
    """Work for the engine, and who is told when it ends."""

    steps: Steps
    ended: Callable[[LmtuiError | None], object]
    """Called with the error, if there was one; mostly on the worker's thread."""
    prompt: tuple[int, ...] = ()
    """What it reads first: it gets the slot that holds most of that."""
    slot: int | None = None
    """The only slot that it can use, if there is one."""
    brief: bool = False
    """Whether it needs no slot and little time: it is the next one to run."""
    tokens: int = 0
    """Tokens that it reads and writes, at the most."""
    paused: Flag = field(default_factory=Flag)
    """Set while its client has much to read yet: it takes no turns then."""
    flag: Flag = field(default_factory=Flag)
    """Set when its answer is not wanted any more; it then ends within a token."""


_NO_SLOT = -1


@dataclass(eq=False)
class _Running:
    task: Task
    slot: int
    steps: Iterator[None]
    used: float
    """Seconds of its turns, on top of the least that others had used when it began."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes turns; one that is to end takes its last."""
        return not self.task.paused.is_set() or self.task.flag.is_set()


class Scheduler:
    def __init__(
        self,
        worker: EngineWorker,
        slots: int,
        *,
        longest_queue: int,
        clock: Clock = time.monotonic,
    ) -> None:
        """`slots` are those of the engine, the last of several for short tasks alone;
        `longest_queue` tasks may wait for one."""
        self._worker, self._clock = worker, clock
        self._longest_queue = longest_queue
        self._lock = Lock()
        self._slots = slots
        self._free = list(range(slots))  # the one that is unused for longest first
        self._waiting: list[Task] = []
        self._running: list[_Running] = []  # the one that waits for longest first
        self._current: _Running | None = None
        self._busy = self._closed = False

    def submit(self, task: Task) -> None:
        """Queue a task.

        Raises:
            Unavailable: too many wait, or the server is ending.
        """
        with self._lock:
            if self._closed:
                raise Unavailable("the server is ending")
            if len(self._waiting) >= self._longest_queue:
                count = f"{counted(len(self._waiting), 'request')} waiting"
                raise Unavailable("the server is busy", count, "Try again later.")
            self._waiting.append(task)
        self._next()

    def stop(self, task: Task) -> None:
        """End a task: within a token if it runs, at once if it waits."""
        task.flag.set()
        with self._lock:
            waited = task in self._waiting
            if waited:
                self._waiting.remove(task)
        if waited:
            task.ended(None)
        else:
            self._next()

    def resume(self, task: Task) -> None:
        """Let a task that is paused take turns again."""
        task.paused.clear()
        self._next()

    def counts(self) -> tuple[int, int]:
        """Return how many tasks have a slot, and how many wait for one."""
        with self._lock:
            waiting = sum(not self._fits(task) for task in self._waiting)
            return self._slots - len(self._free), waiting

    def close(self) -> None:
        """Take no more tasks; those there are end with what they have."""
        with self._lock:
            self._closed = True
            current = [self._current] if self._current else []
            for task in (*self._waiting, *(r.task for r in (*self._running, *current))):
                task.flag.set()
        self._next()

    # Between two turns, on any thread.

    def _next(self) -> None:
        """Ask for the next turn, unless one has been asked for."""
        with self._lock:
            ready = any(running.is_ready for running in self._running)
            if self._busy or not (ready or any(map(self._fits, self._waiting))):
                return
            self._busy = True
        number = self._worker.number()
        self._worker.ask(
            EngineRequest(
                id=number, slot=Slot.GENERATE, run=self._turn, reply=self._replied
            )
        )

    def _replied(self, event: Event) -> None:
        """Put the task whose turn ended at the end of the line, or tell its end."""
        with self._lock:
            running, self._current, self._busy = self._current, None, False
            goes_on = isinstance(event, Answer) and event.value
            if running and goes_on:
                self._running.append(running)
            elif running and running.slot != _NO_SLOT:
                self._free.append(running.slot)
            ended = [running.task] if running and not goes_on else []
            if running is None and isinstance(event, Failed):
                # The turn itself failed: it would again, with the same tasks.
                ended, self._waiting = self._waiting, []
        for task in ended:
            task.ended(event.error if isinstance(event, Failed) else None)
        self._next()

    # A turn, on the worker's thread.

    def _turn(self, engine: Engine, _: Context) -> bool:
        """Take the turn of the next task; return whether it goes on after it."""
        with self._lock:
            self._admit(engine)
            ready = [candidate for candidate in self._running if candidate.is_ready]
            if not ready:
                return False
            running = min(ready, key=lambda candidate: candidate.used)
            for candidate in self._running:  # those that are paused save nothing up
                candidate.used = max(candidate.used, running.used)
            self._running.remove(running)
            self._current = running
        began = self._clock()
        try:
            # Steps are taken until one ends after the turn's time.
            with cancelled_when(running.task.flag.is_set):
                return any(
                    self._clock() >= began + TURN or not running.is_ready
                    for _ in running.steps
                )
        except Cancelled:
            return False
        finally:
            running.used += self._clock() - began

    def _admit(self, engine: Engine) -> None:
        """Give free slots to tasks that wait."""
        # Who comes later has had as much as the one that has had the least.
        least = min((running.used for running in self._running), default=0.0)
        for task in list(self._waiting):
            if not (fits := self._fits(task)):
                continue
            slot, used = fits[0], -math.inf
            if not task.brief:
                slot, used = max(fits, key=partial(engine.reusable, task.prompt)), least
                self._free.remove(slot)
            self._waiting.remove(task)
            steps = task.steps(engine, slot)
            self._running.append(_Running(task, slot, steps, used))

    def _fits(self, task: Task) -> list[int]:
        """Return the free slots that a task may have."""
        if task.brief:
            return [_NO_SLOT]
        # The last one is left to short tasks, so that its KV cache stays small, too.
        left = self._slots - 1 if task.tokens > SHORT and self._slots > 1 else None
        wanted = (slot for slot in self._free if task.slot in (None, slot))
        return [slot for slot in wanted if slot != left]
