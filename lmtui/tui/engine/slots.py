"""The requests of one client, of which the newest of each slot counts.

Knows no verb of the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from lmtui.engine.protocol import EditorEngine
from lmtui.errors import LmtuiError
from lmtui.worker.events import Answer, Batch, Dropped, Event, Failed
from lmtui.worker.requests import Context, EngineRequest, Reply, Slot
from lmtui.worker.worker import EngineWorker

Deliver = Callable[[Callable[[], object]], object]
"""Has a function called on the event loop, soon. It can be called from any thread, and
must not block."""
OnError = Callable[[LmtuiError], object]
Run = Callable[[EditorEngine, Context], Any]
"""What is done with the engine; returns the answer."""


def ignore(*_: object) -> None:
    """Take what nobody asked for."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """One function for each kind of event."""

    then: Callable[..., object]
    """Takes the answer."""
    failed: OnError
    batch: Callable[[tuple[Any, ...]], object] = ignore
    dropped: Callable[[], object] = ignore

    def call_for(self, event: Event) -> tuple[Callable[[], object], bool]:
        """Return the call that an event asks for, and whether it is the last one."""
        match event:
            case Batch(values=values):
                return partial(self.batch, values), False
            case Answer(value=value):
                return partial(self.then, value), True
            case Failed(error=error):
                return partial(self.failed, error), True
            case Dropped():
                return self.dropped, True


class SlotRequests:
    """The newest request of each slot, until it has ended."""

    def __init__(self, worker: EngineWorker, deliver: Deliver) -> None:
        self._worker, self._deliver = worker, deliver
        self._newest: dict[Slot, int] = {}  # ids of requests that have not ended

    def is_pending(self, slot: Slot) -> bool:
        """Return whether a request of this slot has not ended yet."""
        return slot in self._newest

    def stop(self, slot: Slot) -> bool:
        """End a request; its end is still reported. Return whether there was any."""
        if slot in self._newest:
            self._worker.stop(self._newest[slot])
        return slot in self._newest

    def cancel(self, *slots: Slot) -> bool:
        """End the requests of these slots, or all of them, unreported. Return whether
        there was any."""
        ids = [self._newest.pop(slot, 0) for slot in slots or tuple(self._newest)]
        for id_ in filter(None, ids):
            self._worker.stop(id_)
        return any(ids)

    def ask(
        self,
        slot: Slot,
        run: Run,
        then: Callable[..., object],
        failed: OnError,
        *,
        dropped: Callable[[], object] = ignore,
        batch: Callable[[tuple[Any, ...]], object] = ignore,
        bound: bool = False,
        other: bool = False,
    ) -> None:
        """Queue a request, in place of the one of its slot."""
        id_ = self._worker.number()
        reply = self.begin(slot, id_, Handlers(then, failed, batch, dropped))
        self._worker.ask(
            EngineRequest(
                id=id_, slot=slot, run=run, reply=reply, bound=bound, other=other
            )
        )

    def begin(self, slot: Slot, id_: int, handlers: Handlers) -> Reply:
        """Make a request the newest of its slot; return what hands its events over to
        the handlers for as long as it is."""
        self.cancel(slot)
        self._newest[slot] = id_

        def reply(event: Event) -> None:
            call, is_last = handlers.call_for(event)

            def if_newest() -> object:
                if self._newest.get(slot) != id_:
                    return None
                if is_last:
                    del self._newest[slot]
                return call()

            self._deliver(if_newest)

        return reply
