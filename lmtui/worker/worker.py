"""The engine's worker: one thread, which makes every call to the engine.

Holds the engine and frees it before another one is opened. A failure ends one request,
never the thread. Knows no verb of the engine and no screen.
"""

from __future__ import annotations

import gc
import time
from copy import copy
from functools import partial
from itertools import count
from threading import Thread
from typing import Any

from lmtui import cancellation, log
from lmtui.cancellation import Condition, cancelled_when
from lmtui.engine.protocol import Engine
from lmtui.errors import (
    BugError,
    Cancelled,
    LmtuiError,
    panics_as_errors,
    system_limit,
)
from lmtui.models.progress import Progress
from lmtui.worker.events import Answer, Batch, Dropped, EngineOpened, Event, Failed
from lmtui.worker.queue import RequestQueue
from lmtui.worker.requests import (
    Context,
    EngineRequest,
    Opened,
    OpenEngine,
    Reply,
    Slot,
)
from lmtui.worker.throttle import Batcher, Clock, throttled


class EngineWorker:
    """Runs requests one by one on a daemon thread, until it is closed."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._queue = RequestQueue()
        self._clock = clock
        self._numbers = count(1)
        self._engine: Engine | None = None
        self._other: Engine | None = None  # to compare it with
        self._thread = Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    # For those who ask; none of these waits.

    @property
    def running(self) -> EngineRequest | None:
        return self._queue.running

    def number(self) -> int:
        """Return an id that no request has had before."""
        return next(self._numbers)

    def ask(self, request: EngineRequest) -> None:
        """Queue a request; those that it displaces are dropped."""
        for displaced in self._queue.put(request):
            self._drop(displaced)

    def load(
        self, open_engine: OpenEngine, reply: Reply, *, id_: int | None = None
    ) -> int:
        """Open an engine in place of the one there is, which is freed first; return the
        id of the request (default: a new one), whose answer is an `EngineOpened`.

        Whatever runs is stopped. What waits is dropped, and so is what is asked while
        the engine opens: it was meant for the old one.
        """

        def run(_: Any, context: Context) -> Opened:
            pass_on = throttled(context.emit, self._clock)

            def report(progress: Progress) -> None:
                cancellation.check()
                pass_on(progress)

            return open_engine(report)

        id_ = self.number() if id_ is None else id_
        request = EngineRequest(id=id_, slot=Slot.LOAD, run=run, reply=reply)
        self.ask(request)
        return request.id

    def stop(self, id_: int) -> None:
        """End a request within one token; one that has ended stays as it is."""
        if waiting := self._queue.stop(id_):
            self._drop(waiting)

    def close(self, timeout: float = 0.8) -> bool:
        """Stop everything and reply no more; return whether the thread has ended after
        at most `timeout` seconds."""
        self._queue.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # On the thread.

    def _work(self) -> None:
        while request := self._queue.take():
            self._do(request)
        self._close_engines()

    def _close_engines(self) -> None:
        for engine in (self._engine, self._other):
            if engine is not None:
                engine.close()

    def _do(self, request: EngineRequest) -> None:
        try:
            with panics_as_errors():
                load = request.slot is Slot.LOAD
                (self._load if load else self._run)(request)
        except Cancelled:
            if not self._queue.put_back(request):
                self._drop(request)
        except LmtuiError as error:
            self._fail(request, error)
        except Exception as error:
            self._fail(request, _unexpected(error))

    def _run(self, request: EngineRequest) -> None:
        engine = self._other if request.other else self._engine
        if engine is None and request.other:
            raise LmtuiError("there is no model to compare with")
        if engine is None:
            raise LmtuiError(
                "no model is loaded", "", "Choose one on the model screen."
            )
        context = _RequestContext(self, request)
        try:
            with cancelled_when(partial(self._should_yield, request)):
                value = request.run(engine, context)
        finally:
            context.batcher.flush()
        self.reply(request, Answer(request.id, value))

    def _load(self, request: EngineRequest) -> None:
        if self._engine is not None:
            self._close_engines()
            self._engine = self._other = None
            gc.unfreeze()  # what loading has exempted from collection
            gc.collect()  # a model is full of cycles, and two may not fit
        try:
            with cancelled_when(request.flag.is_set):
                opened = request.run(None, _RequestContext(self, request))
            engine, other = opened if isinstance(opened, tuple) else (opened, None)
            self._engine, self._other = engine, other
        finally:
            self._queue.done()  # from here on, ids and handles are of this engine
        if request.flag.is_set():
            raise Cancelled
        against = other.info if other else None
        value = EngineOpened(engine.info, engine.capabilities, against)
        self.reply(request, Answer(request.id, value))

    def reply(self, request: EngineRequest, event: Event) -> None:
        if self._queue.closed:
            return  # the program is closing
        try:
            request.reply(event)
        except Exception as error:  # a closed screen must not end the thread
            log.record_bug(error)

    def _should_yield(self, request: EngineRequest) -> bool:
        """Return whether to break off: for good, or until a more urgent request is
        done, for which no answer is interrupted."""
        return request.flag.is_set() or (
            request.slot is not Slot.GENERATE
            and self._queue.has_higher_priority(request)
        )

    def serve_previews(self) -> None:
        """Answer the previews that wait, in the middle of another request."""
        while preview := self._queue.take_preview():
            self._do(preview)

    def _fail(self, request: EngineRequest, error: LmtuiError) -> None:
        if request.slot is Slot.LOAD and request.flag.is_set():
            self._drop(request)  # another load has taken its place
            return
        # A copy: the error's traceback would keep the engine and its model alive.
        self.reply(request, Failed(request.id, copy(error)))

    def _drop(self, request: EngineRequest) -> None:
        self.reply(request, Dropped(request.id))


class _RequestContext:
    """The `Context` of one request while it runs."""

    def __init__(self, worker: EngineWorker, request: EngineRequest) -> None:
        self._worker, self._request = worker, request
        self.stopped: Condition = request.flag.is_set
        self.batcher = Batcher(self._batch, worker._clock)

    def _batch(self, *values: Any) -> None:
        self._worker.reply(self._request, Batch(self._request.id, values))

    def emit(self, *values: Any) -> None:
        self._batch(*values)
        self._serve()

    def gather(self, value: Any) -> None:
        self.batcher.add(value)
        self._serve()

    def _serve(self) -> None:
        if self._request.slot is Slot.GENERATE:
            self._worker.serve_previews()


def _unexpected(error: Exception) -> LmtuiError:
    """Wrap an unexpected error for the user; the traceback of a bug goes to the log."""
    if limit := system_limit(error):
        return limit
    file = log.record_bug(error)
    return BugError(
        "this is a bug in lmtui",
        f"{type(error).__name__}: {error}",
        f"The details are in {file}." if file else "The log could not be written.",
    )
