"""A client of the engine's worker, for one controller.

A request is a function that the worker calls with the engine. Nobody waits for it: what
comes of it is handed over on the event loop, through the functions that were given with
the request. Knows no widget; the engine comes from whoever loads it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from lmtui.engine.protocol import Engine
from lmtui.errors import LmtuiError
from lmtui.models.progress import Progress
from lmtui.worker.events import Answer, Batch, Dropped, EngineOpened, Event, Failed
from lmtui.worker.requests import Context, EngineRequest, OpenEngine, Slot
from lmtui.worker.worker import EngineWorker

T = TypeVar("T")

Deliver = Callable[[Callable[[], object]], object]
"""Has a function called on the event loop, soon. It can be called from any thread, and
must not block."""
Then = Callable[[T], object]
"""Takes an answer, on the event loop."""
OnError = Callable[[LmtuiError], object]
MakeClient = Callable[[Deliver], "EngineClient"]


def ignore(*_: object) -> None:
    """Take what nobody asked for."""


class EngineClient:
    """Requests of which, in each slot, only the newest counts.

    An older one is stopped, and nothing more comes of it or of a cancelled one. So
    nobody else has to ask whether an answer is still wanted.

    What is less urgent than another client's request, or as urgent and older, is
    interrupted and runs again later, from its beginning; `Slot` has the order.
    """

    def __init__(self, worker: EngineWorker, deliver: Deliver) -> None:
        self._worker, self._deliver = worker, deliver
        self._newest: dict[Slot, int] = {}  # ids of requests that have not ended

    def ask(
        self,
        slot: Slot,
        run: Callable[[Engine, Context], T],
        then: Then[T],
        failed: OnError = ignore,
        *,
        dropped: Callable[[], object] = ignore,
        batch: Callable[[tuple[Any, ...]], object] = ignore,
        other: bool = False,
    ) -> None:
        """Queue a request, in place of this client's one of its slot.

        `run` is called on the worker's thread, so what it uses of a screen is read
        before. The request ends with one call of `then` with what `run` returned, of
        `failed`, or of `dropped`: it was stopped, or another model is loaded. `batch`
        takes what it reports before that. `other` is that of `EngineRequest`.
        """

        def handle(event: Event) -> object:
            match event:
                case Batch(values=values):
                    return batch(values)
                case Answer(value=value):
                    return then(value)
                case Failed(error=error):
                    return failed(error)
                case Dropped():
                    return dropped()

        id_ = self._worker.number()
        reply = self._reply_to(slot, id_, handle)
        self._worker.ask(
            EngineRequest(id=id_, slot=slot, run=run, reply=reply, other=other)
        )

    def load(
        self,
        open_engine: OpenEngine,
        *,
        progress: Then[Progress],
        then: Then[EngineOpened],
        failed: OnError,
    ) -> None:
        """Open an engine in place of the one there is; handles and ids of that one are
        invalid from now on. A load ends with a model: another load takes its place."""

        def handle(event: Event) -> None:
            match event:
                case Batch(values=values):
                    for value in values:
                        progress(value)
                case Answer(value=value):
                    then(value)
                case Failed(error=error):
                    failed(error)

        id_ = self._worker.number()
        self._worker.load(open_engine, self._reply_to(Slot.LOAD, id_, handle), id_=id_)

    def is_pending(self, slot: Slot) -> bool:
        return slot in self._newest

    def stop(self, slot: Slot) -> bool:
        """End a request within one token; its end is still reported. Return whether
        there was any."""
        if slot in self._newest:
            self._worker.stop(self._newest[slot])
        return slot in self._newest

    def cancel(self, *slots: Slot) -> bool:
        """End the requests of these slots, or all of them; nothing of them is reported
        any more. Return whether there was any."""
        ids = [self._newest.pop(slot, 0) for slot in slots or tuple(self._newest)]
        for id_ in filter(None, ids):
            self._worker.stop(id_)
        return any(ids)

    def _reply_to(
        self, slot: Slot, id_: int, handle: Callable[[Event], object]
    ) -> Callable[[Event], object]:
        """Make a request the newest of its slot; return what has its events taken, on
        the event loop, for as long as it is."""
        self.cancel(slot)
        self._newest[slot] = id_

        def handle_newest(event: Event) -> object:
            if self._newest.get(slot) != id_:
                return None
            if not isinstance(event, Batch):
                del self._newest[slot]
            return handle(event)

        return lambda event: self._deliver(partial(handle_newest, event))
