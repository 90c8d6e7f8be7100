"""Clients that read slowly."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPResponse

from lmtui.serve.limits import Limits
from tests.fake_writing import FakeWriter
from tests.serve.serving import WAIT, Served, read, serving

TOKENS = 300
LIMITS = replace(Limits(), unread=1 << 16)
IMPATIENT = replace(LIMITS, unread_seconds=0.02)


class Counted(FakeWriter):
    """An engine that writes a long answer, then short ones."""

    def __init__(self) -> None:
        self.written = 0
        super().__init__(
            [["a"] * TOKENS, *["b"] * 500],
            context=1 << 20,
            slots=2,
            on_token=self._count,
        )

    def _count(self, index: int) -> None:
        self.written = max(self.written, index)


@contextmanager
def long_stream(served: Served) -> Iterator[socket.socket]:
    """A client that has asked for more than the buffers of a connection hold."""
    body = {"prompt": "x", "max_tokens": TOKENS, "stream": True, "logprobs": 250}
    data = json.dumps(body).encode()
    with socket.socket() as bare:
        bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        bare.settimeout(WAIT)
        bare.connect(("127.0.0.1", served.port))
        bare.sendall(
            b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n"
            b"connection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)
        )
        assert bare.recv(1, socket.MSG_PEEK)  # it has begun
        yield bare


def settled(engine: Counted, served: Served) -> int:
    """How much is written of the long answer once others no longer change that."""
    same, before = 0, -1
    while same < 10 and before < TOKENS - 1:
        assert served.complete(prompt="y", max_tokens=1).status == 200
        same = same + 1 if engine.written == before else 0
        before = engine.written
    return before


def test_engine_waits_for_a_client_that_does_not_read() -> None:
    engine = Counted()
    with serving(engine, limits=LIMITS) as served, long_stream(served) as bare:
        assert settled(engine, served) < TOKENS - 1
        response = HTTPResponse(bare)
        response.begin()
        events = read(response).events
    assert sum(len(each["choices"][0]["text"]) for each in events) == TOKENS


def test_client_that_does_not_read_leaves_its_place_to_one_that_waits() -> None:
    engine = Counted()
    with serving(engine, limits=IMPATIENT) as served, long_stream(served) as bare:
        assert settled(engine, served) < TOKENS - 1  # short ones have another place
        long = served.complete(prompt="y", max_tokens=1000)
        assert long.json["choices"][0]["finish_reason"] == "stop"
        response = HTTPResponse(bare)
        response.begin()
        events = read(response).events
    assert events[-1]["choices"][0]["finish_reason"] == "abort"
    assert sum(len(each["choices"][0]["text"]) for each in events) < TOKENS


def test_client_that_does_not_read_keeps_its_place_while_nobody_waits() -> None:
    engine = Counted()
    with serving(engine, limits=IMPATIENT) as served, long_stream(served) as bare:
        assert settled(engine, served) < TOKENS - 1
        response = HTTPResponse(bare)
        response.begin()
        events = read(response).events
    assert events[-1]["choices"][0]["finish_reason"] == "length"
