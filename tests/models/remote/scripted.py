"""A server that answers what a test has written, byte by byte."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from lmtui.models.remote.address import parse
from lmtui.models.remote.connection import Connection


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A response with this body."""
    head = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass
class Scripted:
    """What was asked, and the address to ask."""

    url: str
    asked: list[bytes] = field(default_factory=list)
    """Requests as they came."""
    gone: Event = field(default_factory=Event)
    """Set when a client closes a connection that has not been answered."""


@contextmanager
def scripted(
    answers: Sequence[bytes | None], *, stays: bool = False
) -> Iterator[Scripted]:
    """A server that gives one answer on each connection and closes it; None waits until
    the client goes, and so does one that `stays` after each answer."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        served = Scripted(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")

        def serve() -> None:
            for each in answers:
                try:
                    connection, _ = listening.accept()
                except OSError:  # the test has ended
                    return
                with connection:
                    try:
                        served.asked.append(_request(connection))
                    except ConnectionError:  # the client was stopped at once
                        continue
                    connection.sendall(each or b"")
                    if each is None or stays:
                        connection.recv(1)
                        served.gone.set()

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield served
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(20)
    assert not thread.is_alive()


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            while len(body) < int(value):
                body += _received(connection)
    return head + b"\r\n\r\n" + body


def _received(connection: socket.socket) -> bytes:
    if part := connection.recv(65536):
        return part
    raise ConnectionError("the client closed it before its request was whole")


@contextmanager
def connected(served: Scripted, key: str | None = None) -> Iterator[Connection]:
    """A connection to such a server."""
    connection = Connection(parse(served.url), key)
    try:
        yield connection
    finally:
        connection.close()
