"""Grammars of requests: followed, checked first, and never ignored."""

from __future__ import annotations

import errno
import json
import os
import re
from typing import Any

import pytest
from jsonschema import validate

from lmtui.engine.grammar.text import LONGEST
from lmtui.engine.types import SamplingSettings
from tests.engine import tiny
from tests.fake_writing import FakeWriter
from tests.serve.serving import Served, serving

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["n"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
FORMATS: list[dict[str, Any]] = [
    {"response_format": FORMAT},
    {"response_format": None},
    {"response_format": {"type": "text"}},
    {"grammar": ""},
]
"""The first of them asks for a grammar."""
GBNF = 'root ::= "a"{1,3} [bc]'
WAYS: list[tuple[dict[str, Any], str]] = [
    ({"structured_outputs": {"regex": "a{1,3}[bc]"}}, "a{1,3}[bc]"),
    ({"structured_outputs": {"grammar": GBNF}}, "a{1,3}[bc]"),
    ({"structured_outputs": {"choice": ["the cat", 'a "b"']}}, 'the cat|a "b"'),
    ({"guided_regex": "x[0-9]"}, "x[0-9]"),
    ({"guided_choice": ["yes", "no"]}, "yes|no"),
    ({"grammar": GBNF}, "a{1,3}[bc]"),
    ({"grammar": 'start: "x" /[0-9]/'}, "x[0-9]"),
]
JSON_WAYS: list[dict[str, Any]] = [
    {"response_format": FORMAT},
    {"response_format": {"type": "json_object", "schema": SCHEMA}},
    {"structured_outputs": {"json": SCHEMA}},
    {"structured_outputs": {"json": json.dumps(SCHEMA)}},
    {"guided_json": SCHEMA},
    {"json_schema": SCHEMA},
]


def text_of(reply: Any) -> str:
    assert reply.status == 200, reply.message
    (choice,) = reply.json["choices"]
    assert choice["finish_reason"] == "stop"
    return str(choice["text"])


@pytest.fixture(scope="module")
def served() -> Any:
    with serving(lambda: tiny.engine()) as server:
        yield server


@pytest.mark.parametrize("fields", JSON_WAYS)
def test_a_schema_is_followed(fields: dict[str, Any], served: Served) -> None:
    said = text_of(served.complete(prompt="the cat", max_tokens=60, seed=1, **fields))
    validate(json.loads(said), SCHEMA)


@pytest.mark.parametrize(("fields", "regex"), WAYS)
def test_a_grammar_is_followed(
    fields: dict[str, Any], regex: str, served: Served
) -> None:
    said = text_of(served.complete(prompt="the cat", max_tokens=60, seed=1, **fields))
    assert re.fullmatch(regex, said)


def test_a_stream_follows_it_too(served: Served) -> None:
    reply = served.complete(
        prompt="the cat", max_tokens=60, stream=True, structured_outputs=WAYS[0][0]
        ["structured_outputs"],
    )  # fmt: skip
    said = "".join(event["choices"][0]["text"] for event in reply.events)
    assert re.fullmatch("a{1,3}[bc]", said)


def test_a_chat_is_asked_for_with_the_grammar() -> None:
    engine = FakeWriter(["one", "two", "three", "four"])
    with serving(engine) as server:
        for fields in FORMATS:
            assert server.chat(**fields).status == 200
    settings: list[SamplingSettings] = [
        values[1]  # type: ignore[index]
        for verb, values in engine.calls
        if verb == "generate"
    ]
    first, *others = (each.grammar for each in settings)
    assert first is not None and json.loads(first) == SCHEMA
    assert others == [None] * 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"response_format": {"type": "json_schema"}}, "no json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"json_schema": {"not": {}}}, "these keywords can't be enforced: not"),
        ({"guided_json": "{]"}, "column 2"),
        ({"guided_regex": "[a"}, "column 1"),
        ({"guided_regex": "(?=a)"}, "look-around"),
        ({"grammar": "start: b"}, "line 1"),
        ({"grammar": 'root ::= "' + "x" * LONGEST + '"'}, "the most is"),
        ({"guided_choice": []}, "needs one text"),
        ({"grammar": GBNF, "guided_regex": "a"}, "one grammar only"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "is not a field"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_can_not_be_followed_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    with serving(FakeWriter(["a"])) as server:
        for reply in (server.chat(**fields), server.complete(prompt="a", **fields)):
            assert reply.status == 400
            assert words in reply.message


def test_grammar_that_takes_too_long_to_compile_is_refused() -> None:
    schema = {"type": "integer", "multipleOf": 1234567}
    with serving(FakeWriter(["a"])) as server:
        reply = server.chat(json_schema=schema)
    assert reply.status == 400 and "5 seconds" in reply.message


def test_drawing_for_another_lmtui_takes_no_grammar() -> None:
    with serving(FakeWriter(["a"])) as server:
        body = {"prompt": [1], "max_tokens": 1, "guided_regex": "a"}
        reply = server.ask("/draw", body)
    assert reply.status == 400 and "no grammar" in reply.message


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM])
def test_machine_that_can_begin_no_process_says_so(
    error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_process(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    with serving(FakeWriter(["yes", "yes"])) as served:
        monkeypatch.setattr("subprocess.Popen", no_process)
        asked = {"guided_regex": f"a grammar that is not known yet: {error}"}
        reply = served.chat(**asked)
        assert (reply.status, reply.headers.get("retry-after")) == (503, "1")
        assert reply.json["error"]["type"] == "server_error"
        assert os.strerror(error) in reply.message
        monkeypatch.undo()
        assert served.chat(**asked).status == 200
