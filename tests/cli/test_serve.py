"""`lmtui serve` as a process: where it listens, who needs a key, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Process, begun, run

WAIT = 60
ANSWER = {"engine": {"answers": ["Yes, it is."], "name": "tiny"}}


@contextmanager
def serving(
    *arguments: str, script: Mapping[str, Any] = ANSWER, env: Mapping[str, str] = {}
) -> Iterator[tuple[Process, int]]:
    verb = ("serve", "--port", "0", *arguments)
    with begun(*verb, script=script, env=env) as child:
        assert child.stderr
        line = child.stderr.readline().decode()
        found = re.search(r"serves tiny .* on http://127\.0\.0\.1:(\d+) ", line)
        assert found, line
        yield child, int(found[1])
        child.kill()


def ask(port: int, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    client = HTTPConnection("127.0.0.1", port, timeout=WAIT)
    data = None if body is None else json.dumps(body)
    client.request("GET" if data is None else "POST", path, data, headers)
    reply = client.getresponse()
    return reply.status, json.loads(reply.read())


@pytest.mark.parametrize(
    ("number", "code"), [("SIGINT", 130), ("SIGTERM", -15), ("SIGHUP", -1)]
)
def test_server_answers_until_a_signal_comes(number: str, code: int) -> None:
    with serving() as (child, port):
        status, body = ask(port, "/v1/completions", {"prompt": "Is it?"})
        assert (status, body["choices"][0]["text"]) == (200, "Yes, it is.")
        child.send_signal(getattr(signal, number))
        assert child.wait(WAIT) == code
        assert child.stderr
        (line,) = child.stderr.read().decode().splitlines()
    assert line.startswith("POST /v1/completions 200 · 6 in, ")


def test_server_that_is_to_outlive_its_terminal_does() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with serving() as (child, port):
            child.send_signal(signal.SIGHUP)
            assert ask(port, "/health")[0] == 200
    finally:
        signal.signal(signal.SIGHUP, before)


def test_key_is_taken_from_a_file_or_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("secret\n", encoding="utf-8")
    ways: Sequence[tuple[list[str], dict[str, str]]] = [
        (["--api-key-file", str(file)], {}), ([], {"LMTUI_API_KEY": "secret"}),
    ]  # fmt: skip
    for arguments, env in ways:
        with serving(*arguments, env=env) as (_, port):
            assert ask(port, "/v1/models")[0] == 401
            assert ask(port, "/v1/models", Authorization="Bearer secret")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--host", "0.0.0.0"], "other machines could use this server without a key"),
        (["--api-key-file", "nowhere"], "the file with the API key can't be read"),
        (["--api-key-file", os.devnull], "the file with the API key is empty"),
        (["--port", "70000"], "port is out of range: 70000"),
        (["--model", "http://127.0.0.1:1/v1"], "this needs a model on this machine"),
    ],
)
def test_what_can_not_be_served_is_an_error(arguments: list[str], error: str) -> None:
    done = run("serve", *arguments)
    assert (done.code, done.out) == (2, "")
    assert error in done.err


@pytest.mark.parametrize("key", ["s3cret-ключ", "two\nlines"])
def test_key_that_no_request_can_carry_is_an_error(key: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(key, encoding="utf-8")
    for arguments, env in (
        (["serve", "--api-key-file", str(file)], {}),
        (["serve"], {"LMTUI_API_KEY": key}),
    ):
        done = run(*arguments, env=env)
        assert (done.code, done.out) == (2, "")
        assert "this API key can't be used" in done.err
        assert key not in done.err and "Make a key of ASCII" in done.err


def test_address_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = run("serve", "--port", port)
    assert done.code == 2
    assert f"the server can't listen there: 127.0.0.1 port {port}" in done.err


def test_settings_are_what_a_request_does_not_say() -> None:
    with serving("--parallel", "3", env={"LMTUI_MAX_TOKENS": "2"}) as (_, port):
        body = {"messages": [{"role": "user", "content": "Hi"}]}
        choice = ask(port, "/v1/chat/completions", body)[1]["choices"][0]
    assert choice["finish_reason"] == "length"
