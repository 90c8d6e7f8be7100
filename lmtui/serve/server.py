"""The HTTP server as a process: its socket, its connections, its end."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

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
        http="h11",
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
