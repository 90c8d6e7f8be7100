"""The HTTP server as a process: its socket, its connections, its end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from lmtui.errors import LmtuiError
from lmtui.serve.limits import Limits

_GRACE = 5  # seconds that ending answers have to reach their clients
_BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = addresses[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        raise LmtuiError(
            "the server can't listen there",
            f"{host} port {port}: {error.strerror or error}",
            "Give another --port, or another --host.",
        ) from error
    return made


def address_of(made: socket.socket) -> str:
    host, port = made.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _TimedProtocol(H11Protocol):
    """Uvicorn's connection, which also ends where a request's head takes too long, or
    its client reads nothing: its own timeout is that between two requests."""

    limits: ClassVar[Limits]
    _deadline: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._end_reading()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        self._end_reading()
        super().resume_writing()

    def _await_reading(self) -> None:
        """Set the deadline at which the client has to have read something."""
        size = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(
            self.limits.unread_seconds, self._unread_for_long, size
        )

    def _unread_for_long(self, before: int) -> None:
        if self.transport.get_write_buffer_size() < before:
            self._await_reading()
        else:
            self.transport.abort()

    def _end_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _watch(self) -> None:
        """Set the deadline while a head is incomplete; leave one that is set."""
        # Between two requests, uvicorn's own timeout counts.
        between = self.cycle is not None and not self.conn.trailing_data[0]
        if self._answers() or between or self.transport.is_closing():
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(
                self.limits.header_seconds, self._late
            )

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if not self._answers() and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 408 Request Timeout\r\n"
                b"connection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()


class _Server(uvicorn.Server):
    """Uvicorn's server; a signal also ends what is being answered."""

    def __init__(self, config: uvicorn.Config, end: Callable[[], object]) -> None:
        super().__init__(config)
        self._end = end

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take SIGHUP like the others, unless it is ignored, as under nohup."""
        with super().capture_signals():
            hangs_up = current_thread() is main_thread() and hasattr(signal, "SIGHUP")
            if not hangs_up or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
                yield
                return
            before = signal.signal(signal.SIGHUP, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(signal.SIGHUP, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._end()
        super().handle_exit(sig, frame)


def server_for(
    app: ASGIApp, limits: Limits, end: Callable[[], object]
) -> uvicorn.Server:
    """Return a server, to be run with its sockets. It serves until a signal comes;
    `end` is called then, and the signal raised again after the last answer."""
    logger = logging.getLogger("uvicorn")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    config = uvicorn.Config(
        app,
        http=type("TimedProtocol", (_TimedProtocol,), {"limits": limits}),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=int(limits.idle_seconds),
        timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=limits.header,
    )
    return _Server(config, end)
