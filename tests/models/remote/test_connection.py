"""The connection to a server: what is sent, and every way in which it can fail."""

from __future__ import annotations

import socket

import pytest

from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.remote.address import parse
from lmtui.models.remote.connection import Connection
from tests.models.remote.scripted import answer, connected, scripted

CUT = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"a"'
LONG = answer(b"x" * 100)


def test_key_goes_to_the_server_and_an_answer_comes_back() -> None:
    with (
        scripted([answer(b'{"a": 1}')]) as served,
        connected(served, "k") as connection,
    ):
        assert connection.json("/v1/x", {"b": 2}) == {"a": 1}
    (asked,) = served.asked
    assert asked.startswith(b"POST /v1/x ") and asked.endswith(b'{"b":2}')
    assert b"authorization: bearer k" in asked.lower()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (answer(b"<html>"), "it is not JSON"),
        (answer(b"[" * 90_000), "it is not JSON"),
        (LONG, "it is too long"),
        (answer(b"", "500 Oh"), "500: Oh"),
        (
            answer(b'{"error": {"message": "no such thing"}}', "400 Bad"),
            "no such thing",
        ),
        (answer(b'{"error": "\xff"}', "400 Bad"), "400: "),
        (answer(b"", "302 Found", "Location: http://evil/"), "another address"),
        (answer(b"", "401 No"), "refuses the key"),
        (b"nonsense\r\n\r\n", "broke off"),
    ],
)
def test_answer_that_can_not_be_used_is_an_error(data: bytes, words: str) -> None:
    with (
        scripted([data, data]) as served,
        connected(served, "k") as connection,
        pytest.raises(LmtuiError, match=words),
    ):
        connection.json("/x", most=100_000 if data != LONG else 99)


def test_key_never_follows_a_redirect() -> None:
    with scripted([answer(b"{}")]) as other:
        where = f"Location: {other.url}"
        with (
            scripted([answer(b"", "307 There", where)]) as served,
            connected(served, "secret") as connection,
            pytest.raises(LmtuiError, match="another address") as caught,
        ):
            connection.json("/x")
    assert not other.asked and "secret" not in str(caught.value)


def test_answer_that_breaks_off_is_asked_for_once_more() -> None:
    with scripted([CUT, answer(b"[1]")]) as served, connected(served) as connection:
        assert connection.json("/x") == [1]
    with (
        scripted([CUT, CUT]) as served,
        connected(served) as connection,
        pytest.raises(LmtuiError, match="broke off"),
    ):
        connection.json("/x")


def test_stop_closes_the_connection() -> None:
    asked = iter([False, False, True])
    with scripted([None, answer(b"[2]")]) as served, connected(served) as connection:
        with pytest.raises(Cancelled):
            connection.json("/x", should_stop=lambda: next(asked))
        assert served.gone.wait(20)
        assert connection.json("/x") == [2]


def test_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    connection = Connection(parse(f"http://127.0.0.1:{port}"))
    with pytest.raises(LmtuiError, match=f"can't be reached: 127.0.0.1:{port}"):
        connection.json("/x")
    connection.close()
    connection.close()
