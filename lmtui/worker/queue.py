"""Queue of requests for the worker: the most urgent is taken first.

Of equally urgent ones the newest goes first: the user looks at it. The queue also knows
the running request, so a stop can't be lost between waiting and running. Knows no
engine.
"""

from __future__ import annotations

from threading import Condition

from lmtui.worker.requests import EngineRequest, Slot


class RequestQueue:
    """Thread-safe queue of requests, each of which waits until it is taken, stopped, or
    displaced by a load."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[int, EngineRequest] = {}  # by id
        self._running: EngineRequest | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def running(self) -> EngineRequest | None:
        return self._running

    def put(self, request: EngineRequest) -> list[EngineRequest]:
        """Queue a request; return those that now never get an answer."""
        with self._changed:
            is_load = request.slot is Slot.LOAD
            if self._closed or (self._loading() and not is_load):
                return [request]
            displaced = self._make_room() if is_load else []
            self._waiting[request.id] = request
            self._changed.notify_all()
            return displaced

    def _loading(self) -> bool:
        requests = (*self._waiting.values(), self._running)
        return any(request and request.slot is Slot.LOAD for request in requests)

    def _make_room(self) -> list[EngineRequest]:
        """Stop what runs and take out what waits: they were meant for the model that is
        replaced."""
        displaced = list(self._waiting.values())
        self._waiting.clear()
        if self._running:
            self._running.flag.set()
        return displaced

    def put_back(self, request: EngineRequest) -> bool:
        """Queue an interrupted request again, unless it was stopped; return whether it
        is queued."""
        with self._changed:
            if self._closed or request.flag.is_set():
                return False
            self._waiting[request.id] = request
            return True

    def take(self) -> EngineRequest | None:
        """Wait for the most urgent request and make it the running one; None when
        the queue is closed."""
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            self._running = min(self._waiting.values(), key=_urgency)
            return self._waiting.pop(self._running.id)

    def done(self) -> None:
        """Mark the running request as answered, before the worker takes the next."""
        with self._changed:
            self._running = None

    def take_preview(self) -> EngineRequest | None:
        """Take a waiting preview or search, if any, to be answered during the running
        request."""
        if not self._waiting:  # without the lock: this is asked after every token
            return None
        with self._changed:
            first = min(self._waiting.values(), key=_urgency, default=None)
            if first is None or first.slot not in (Slot.PREVIEW, Slot.SEARCH):
                return None
            return self._waiting.pop(first.id)

    def has_higher_priority(self, request: EngineRequest) -> bool:
        """Whether a more urgent request waits."""
        if not self._waiting:  # without the lock: this is asked between layers
            return False
        with self._changed:
            first = min(map(_urgency, self._waiting.values()), default=None)
            return first is not None and first < _urgency(request)

    def stop(self, id_: int) -> EngineRequest | None:
        """End a request: set the flag of a running one; take out and return a waiting
        one."""
        with self._changed:
            running = self._running
            if running is not None and running.id == id_:
                running.flag.set()
                return None
            return self._waiting.pop(id_, None)

    def close(self) -> None:
        """Take no more requests, drop those that wait, and stop the running one."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            if self._running:
                self._running.flag.set()
            self._changed.notify_all()


def _urgency(request: EngineRequest) -> tuple[Slot, int]:
    """Smaller for what is taken first."""
    return request.slot, -request.id
