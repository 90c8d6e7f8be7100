"""Queue of requests for the worker, with one slot for each kind.

The newest request of a slot replaces the older one; the most urgent slot is taken
first. The queue also knows the running request, so a stop can't be lost between waiting
and running. Knows no engine.
"""

from __future__ import annotations

from threading import Condition

from lmtui.worker.requests import EngineRequest, Slot


class RequestQueue:
    """Thread-safe queue with one slot for each kind of request."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: dict[Slot, EngineRequest] = {}
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
            if self._closed or (request.bound and self._loading()):
                return [request]
            displaced = self._make_room(request)
            self._waiting[request.slot] = request
            self._changed.notify_all()
            return displaced

    def _loading(self) -> bool:
        running = self._running
        return Slot.LOAD in self._waiting or (
            running is not None and running.slot is Slot.LOAD
        )

    def _make_room(self, request: EngineRequest) -> list[EngineRequest]:
        if request.slot is not Slot.LOAD:
            before = self._waiting.pop(request.slot, None)
            return [before] if before else []
        # The other requests were meant for the model that is replaced.
        displaced = list(self._waiting.values())
        self._waiting.clear()
        if self._running:
            self._running.flag.set()
        return displaced

    def put_back(self, request: EngineRequest) -> bool:
        """Queue an interrupted request again, unless it was stopped or a newer one of
        its slot came; return whether it is queued."""
        with self._changed:
            gone = self._closed or request.flag.is_set()
            if gone or request.slot in self._waiting:
                return False
            self._waiting[request.slot] = request
            return True

    def take(self) -> EngineRequest | None:
        """Wait for the most urgent request and make it the running one; None when
        the queue is closed."""
        with self._changed:
            self._running = None
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return None
            self._running = self._waiting.pop(min(self._waiting))
            return self._running

    def done(self) -> None:
        """Mark the running request as answered, before the worker takes the next."""
        with self._changed:
            self._running = None

    def take_preview(self) -> EngineRequest | None:
        """Take a waiting preview or search, if any, to be answered during the running
        request."""
        for slot in (Slot.PREVIEW, Slot.SEARCH):
            # Without the lock at first: this is asked after every token.
            if slot in self._waiting:
                with self._changed:
                    return self._waiting.pop(slot, None)
        return None

    def has_higher_priority(self, request: EngineRequest) -> bool:
        """Whether a more urgent request waits, or a newer one of the same slot."""
        with self._changed:
            return any(slot <= request.slot for slot in self._waiting)

    def stop(self, id_: int) -> EngineRequest | None:
        """End a request: set the flag of a running one; take out and return a waiting
        one."""
        with self._changed:
            running = self._running
            if running is not None and running.id == id_:
                running.flag.set()
                return None
            for slot, request in self._waiting.items():
                if request.id == id_:
                    return self._waiting.pop(slot)
            return None

    def close(self) -> None:
        """Take no more requests, drop those that wait, and stop the running one."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            if self._running:
                self._running.flag.set()
            self._changed.notify_all()
