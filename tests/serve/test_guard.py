"""Who may ask, how much, and for how long."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from threading import Event, Thread

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.remote.address import is_loopback
from lmtui.serve.guard import Access
from lmtui.serve.limits import Limits
from lmtui.serve.server import listen
from tests.fake_writing import FakeWriter
from tests.serve.serving import WAIT, Served, serving

QUICK = replace(Limits(), body_seconds=0.2)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    access = Access("secret", ["models.lan"], ["http://localhost:3000"])
    with serving(FakeWriter(["Yes."] * 100), access=access) as found:
        yield found


KEY = {"Authorization": "Bearer secret"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (KEY, 200),
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic secret"}, 401),
        ({"Authorization": "Bearer sécret".encode().decode("latin-1")}, 401),
        (KEY | {"Host": "localhost:1"}, 200),
        (KEY | {"Host": "[::1]:80"}, 200),
        (KEY | {"Host": "models.lan"}, 200),
        (KEY | {"Host": "evil.example"}, 421),
        (KEY | {"Host": "127.0.0.1.evil.example"}, 421),
        (KEY | {"Host": "[::1"}, 421),
        (KEY | {"Host": ""}, 421),
        (KEY | {"Host": "evil@localhost"}, 421),
        (KEY | {"Host": "localhost/evil"}, 421),
        (KEY | {"Host": "evil.example#localhost"}, 421),
        (KEY | {"Host": "localhost:80@evil.example"}, 421),
        (KEY | {"Host": "LOCALHOST:"}, 200),
        (KEY | {"Origin": "http://localhost:3000"}, 200),
        (KEY | {"Origin": "http://localhost:3001"}, 403),
        (KEY | {"Origin": "null"}, 403),
    ],
)
def test_only_those_who_may_are_answered(
    served: Served, headers: dict[str, str], status: int
) -> None:
    reply = served.ask("/v1/models", headers=headers)
    assert reply.status == status
    if status != 200:
        assert reply.json["error"]["code"] == status
    allowed = headers.get("Origin") if status == 200 else None
    assert reply.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/v1/models", "localhost", 200),
        ("HTTP://models.lan:80/v1/mod%65ls?a=b", "models.lan", 200),
        ("http://localhost", "localhost", 404),
        ("http://localhost/v1/models", "evil.example", 200),  # it is not read
        ("http://evil.example/v1/models", "localhost", 421),
        ("http://evil.example/health", "localhost", 421),
        ("http://evil@localhost/v1/models", "localhost", 421),
        ("http:///v1/models", "localhost", 421),
        ("ftp://localhost/v1/models", "localhost", 404),
    ],
)
def test_absolute_target_is_called_by_its_own_name(
    served: Served, target: str, host: str, status: int
) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
    data = exchange(served, f"{head}Authorization: Bearer secret\r\n\r\n".encode())
    assert data.startswith(f"HTTP/1.1 {status} ".encode())


def test_health_needs_no_key(served: Served) -> None:
    assert served.ask("/health").status == 200


PAGE = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
ASKED = "authorization, content-type, x-stainless-lang"


def test_preflight_of_an_allowed_page_is_answered_without_a_key(served: Served) -> None:
    asked = PAGE | {"Access-Control-Request-Headers": ASKED}
    reply = served.ask("/v1/completions", method="OPTIONS", headers=asked)
    assert (reply.status, reply.data) == (204, b"")
    assert reply.headers["access-control-allow-origin"] == PAGE["Origin"]
    assert reply.headers["access-control-allow-headers"] == ASKED
    assert "POST" in reply.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("OPTIONS", PAGE | {"Origin": "http://evil.example"}, 403),
        ("OPTIONS", PAGE | {"Host": "evil.example"}, 421),
        ("OPTIONS", {}, 401),
        ("POST", PAGE, 401),
        ("GET", PAGE, 401),
    ],
)
def test_nothing_else_is_answered_without_a_key(
    served: Served, method: str, headers: dict[str, str], status: int
) -> None:
    reply = served.ask("/v1/models", method=method, headers=headers)
    assert reply.status == status
    if headers.get("Origin") != PAGE["Origin"]:
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True),
        ("a.localhost", True), ("0.0.0.0", False), ("10.0.0.1", False), ("", False),
        ("localhost.evil.example", False),
    ],
)  # fmt: skip
def test_loopback_is_told_from_other_addresses(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_body_that_is_too_large_is_refused() -> None:
    with serving(FakeWriter(), limits=replace(Limits(), body=100)) as served:
        assert served.complete(prompt="a" * 200).status == 413
        with served.connected() as client:  # without a length
            parts = iter([b"a" * 80, b"a" * 80])
            client.request("POST", "/v1/completions", parts, encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
            assert client.getresponse().status == 413
        assert served.complete(prompt="a").status == 200


def exchange(served: Served, *sent: bytes) -> bytes:
    """Send bytes and wait until the server closes; return what it said."""
    with served.socket() as bare:
        for part in sent:
            bare.sendall(part)
        data = b""
        while part := bare.recv(4096):
            data += part
        return data


HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99\r\n\r\n"


def test_body_that_does_not_come_in_time_is_refused() -> None:
    with serving(FakeWriter(["Yes."]), limits=QUICK) as served:
        assert b" 408 " in exchange(served, HEAD + b"{")
        assert served.complete(prompt="a").status == 200


def test_answer_may_take_longer_than_the_limits_of_a_request() -> None:
    slow = Event()
    engine = FakeWriter(["Yes."], on_token=lambda _: bool(slow.wait(0.3)))
    with serving(engine, limits=QUICK) as served:
        assert served.complete(prompt="a", max_tokens=2).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\x00\r\n\r\n", b"GET\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"a: " + b"b" * 100_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_is_refused(sent: bytes) -> None:
    with serving(FakeWriter(["Yes."]), limits=QUICK) as served:
        assert exchange(served, sent)[:12] == b"HTTP/1.1 400"
        assert served.complete(prompt="a").status == 200


@pytest.mark.parametrize("method", [b"POST /v1/completions", b"OPTIONS /", b"GET /x"])
def test_request_with_two_lengths_ends_its_connection(method: bytes) -> None:
    """A proxy that reads the other one would take the rest for another request."""
    both = b"content-length: 4\r\ntransfer-encoding: chunked\r\n"
    first = method + b" HTTP/1.1\r\nhost: localhost\r\n" + both + b"\r\n0\r\n\r\n"
    second = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with serving(FakeWriter()) as served:
        said = exchange(served, first + second)
    assert said.startswith(b"HTTP/1.1 400")
    assert said.count(b"HTTP/1.1") == 1
    assert b"connection: close" in said.lower()


def test_probe_without_a_host_learns_whether_the_server_lives(served: Served) -> None:
    assert b" 200 " in exchange(served, b"GET /health HTTP/1.0\r\n\r\n")
    asked = b"GET /v1/models HTTP/1.0\r\nAuthorization: Bearer secret\r\n\r\n"
    assert b" 421 " in exchange(served, asked)


def test_half_closed_socket_disturbs_nobody() -> None:
    with serving(FakeWriter(["Yes."])) as served:
        with served.socket() as bare:
            bare.sendall(HEAD)
            bare.shutdown(socket.SHUT_WR)
            assert bare.recv(4096) == b"" or b"HTTP/1.1 4" in bare.recv(1)
        assert served.complete(prompt="a").status == 200


def test_many_connections_are_answered() -> None:
    statuses: list[int] = []
    with serving(FakeWriter(["Yes."] * 99, slots=4)) as served:
        threads = [
            Thread(target=lambda: statuses.append(served.complete(prompt="a").status))
            for _ in range(99)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    assert statuses == [200] * 99


def test_address_in_use_is_told() -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(LmtuiError, match=f"127.0.0.1 port {port}"):
            listen("127.0.0.1", port)
