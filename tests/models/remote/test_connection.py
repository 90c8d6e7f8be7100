"""The connection to a server: what is sent, and every way in which it can fail."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lmtui.cancellation import cancelled_when
from lmtui.errors import Cancelled, LmtuiError
from lmtui.models.remote import connection as connection_module
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
        (answer(b"oh\nTraceback: /home/x", "500 Oh"), "500: oh$"),
        (answer(b'{"detail":"Not Found"}', "404 No"), "404: Not Found$"),
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
        with pytest.raises(Cancelled), cancelled_when(lambda: next(asked)):
            connection.json("/x")
        assert served.gone.wait(20)
        assert connection.json("/x") == [2]


def test_closed_connection_holds_no_file(recwarn: pytest.WarningsRecorder) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.exists():
        pytest.skip("the system does not list open files")
    gc.collect()  # what other tests left open
    recwarn.clear()
    with scripted([answer(b"1")] * 3) as served:
        before = len([*open_files.iterdir()])
        for _ in range(3):
            with connected(served) as connection:
                connection.json("/a")
            connection.close()
        assert len([*open_files.iterdir()]) <= before
    gc.collect()
    unclosed = [each for each in recwarn if each.category is ResourceWarning]
    assert not [str(each.message) for each in unclosed]


def test_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    connection = Connection(parse(f"http://127.0.0.1:{port}"))
    with pytest.raises(LmtuiError, match=f"can't be reached: 127.0.0.1:{port}"):
        connection.json("/x")
    connection.close()
    connection.close()


def events(data: bytes, most: int = 99) -> list[object]:
    with scripted([data, data]) as served, connected(served) as connection:
        return list(connection.events("/x", {}, most=most))


def test_events_of_a_stream_are_read_up_to_its_end() -> None:
    lines = b': ping\r\nevent: x\r\n\r\ndata: {"a": 1}\r\n\r\ndata:[2]\n\n'
    assert events(answer(lines)) == [{"a": 1}, [2]]
    assert events(answer(lines + b"data: [DONE]\n\ndata: nonsense\n\n")) == [
        {"a": 1},
        [2],
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (answer(b"data: <html>\n\n"), "an event is not JSON"),
        (answer(b"data: " + b"[" * 80 + b"\n\n"), "an event is not JSON"),
        (answer(b"data: " + b"1" * 100), "it is too long"),
        (answer(b'data: {"error": {"message": "no room"}}\n\n'), "error.*no room"),
        (answer(b"", "503 Busy"), "503: Busy"),
        (CUT, "broke off"),
    ],
)
def test_stream_that_can_not_be_used_is_an_error(data: bytes, words: str) -> None:
    with pytest.raises(LmtuiError, match=words):
        events(data)


@contextmanager
def begun(**how: Any) -> Iterator[tuple[Any, Any, Any]]:
    """A server, a connection to it, and a stream of which one event has come."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\ndata: 1\n\n"
    with scripted([head, head], **how) as served, connected(served) as connection:
        found = connection.events("/x", {})
        assert next(found) == 1
        yield served, connection, found


def test_stream_that_breaks_off_is_not_asked_for_again() -> None:
    with begun() as (served, _, found):
        with pytest.raises(LmtuiError, match="broke off"):
            next(found)
        assert len(served.asked) == 1


def test_stream_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_PATIENCE", 0.1)
    with begun(stays=True) as (served, _, found):
        with pytest.raises(LmtuiError, match="does not answer"):
            next(found)
        assert served.gone.wait(20)


def test_reader_that_goes_closes_the_stream() -> None:
    with begun(stays=True) as (served, _, found):
        found.close()
        assert served.gone.wait(20)


def test_reader_that_goes_after_the_connection_is_quiet() -> None:
    with begun(stays=True) as (_, connection, found):
        connection.close()
        found.close()


@pytest.mark.parametrize(("size", "whole"), [(1, 6), (2, 3), (3, 2), (6, 1)])
def test_records_have_their_size(size: int, whole: int) -> None:
    with scripted([answer(b"abcdef")]) as served, connected(served) as connection:
        found = list(connection.records("/x", {}, size))
    assert b"".join(found) == b"abcdef" and len(found) == whole


def test_record_that_is_cut_is_an_error() -> None:
    with (
        scripted([answer(b"abcdef")]) as served,
        connected(served) as connection,
        pytest.raises(LmtuiError, match="ends within a row"),
    ):
        list(connection.records("/x", {}, 4))
