"""Grammars of requests: followed, checked first, and never ignored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from jsonschema import validate

from lmtui.engine.grammar.text import LONGEST, Grammar, rules_of
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.serve.bodies import CompletionBody, read_body
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
OF_SCHEMA = Grammar.of_schema(SCHEMA)
CHOICES = {"structured_outputs": {"choice": ["the cat", 'a "b"']}}
GBNF, LARK = 'root ::= "a"{1,3} [bc]', 'start: "x" /[0-9]/'


@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({"response_format": FORMAT}, OF_SCHEMA),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, OF_SCHEMA),
        ({"structured_outputs": {"json": SCHEMA}}, OF_SCHEMA),
        ({"structured_outputs": {"json": json.dumps(SCHEMA)}}, OF_SCHEMA),
        ({"guided_json": SCHEMA}, OF_SCHEMA),
        ({"json_schema": SCHEMA}, OF_SCHEMA),
        ({"structured_outputs": {"regex": "a{1,3}"}}, Grammar("regex", "a{1,3}")),
        ({"guided_regex": "x[0-9]"}, Grammar("regex", "x[0-9]")),
        ({"structured_outputs": {"grammar": GBNF}}, Grammar("gbnf", GBNF)),
        ({"grammar": GBNF}, Grammar("gbnf", GBNF)),
        ({"guided_grammar": LARK}, Grammar("lark", LARK)),
        (CHOICES, rules_of('start: "the cat" | "a \\"b\\""\n')),
        ({"guided_choice": ["yes", "no"]}, rules_of('start: "yes" | "no"\n')),
        ({"response_format": None}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"grammar": ""}, None),
    ],
)
def test_names_of_other_programs_give_a_grammar(
    fields: dict[str, Any], grammar: Grammar | None
) -> None:
    data = json.dumps({"prompt": "a"} | fields).encode()
    assert read_body(CompletionBody, data).follows == grammar


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(lambda: tiny.engine()) as server:
        yield server


def drawn(served: Served, **fields: Any) -> str:
    asked = {"prompt": "the cat", "max_tokens": 60, "seed": 1} | fields
    events = served.complete(**asked, stream=True).events
    choices = [event["choices"][0] for event in events]
    text = "".join(choice["text"] for choice in choices)
    (choice,) = served.complete(**asked).json["choices"]
    assert (choice["text"], choice["finish_reason"]) == (text, "stop")
    return text


def test_grammar_is_followed_whole_and_in_a_stream(served: Served) -> None:
    validate(json.loads(drawn(served, response_format=FORMAT)), SCHEMA)
    assert re.fullmatch("a{1,3}[bc]", drawn(served, grammar=GBNF))
    assert re.fullmatch('the cat|a "b"', drawn(served, **CHOICES))


def nested(rules: int) -> str:
    """A grammar of so many rules whose only text has 4 · 3ⁿ letters."""
    names = [f"r{'abcdefghijklmnopqrstuvwxyz'[each]}" for each in range(rules)]
    lines = [f"root ::= {' '.join(names[:1] * 4)}"]
    for one, other in pairwise(names):
        lines.append(f"{one} ::= {other} {other} {other}")
    return "\n".join([*lines, f'{names[-1]} ::= "x"'])


def test_grammar_of_one_very_long_text_is_followed(served: Served) -> None:
    reply = served.complete(prompt="the cat", max_tokens=5, grammar=nested(20))
    (choice,) = reply.json["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("xxxxx", "length")


@pytest.mark.parametrize("stream", [False, True])
def test_answer_that_its_grammar_leaves_no_token_is_refused(
    served: Served, stream: bool
) -> None:
    (banned,) = served.ask("/tokenize", {"prompt": "x"}).json["tokens"]
    fields = {
        "grammar": 'root ::= "x"',
        "logit_bias": {str(banned): False},
        "stream": stream,
    }
    reply = served.complete(prompt="a", **fields)
    assert reply.status == 400
    assert "bans and grammar together forbid all" in reply.message


def test_grammar_that_gets_stuck_later_ends_a_stream_with_an_error(
    served: Served,
) -> None:
    (banned,) = served.ask("/tokenize", {"prompt": "x"}).json["tokens"]
    fields = {"grammar": 'root ::= "zz" "x"', "logit_bias": {str(banned): False}}
    assert served.complete(prompt="a", **fields).status == 400
    *parts, last = served.complete(prompt="a", stream=True, **fields).events
    assert "".join(part["choices"][0]["text"] for part in parts) == "zz"
    assert last["error"]["code"] == 400 and "forbid all" in last["error"]["message"]


def test_a_chat_is_asked_for_with_the_grammar() -> None:
    engine = FakeWriter(["one"])
    with serving(engine) as server:
        assert server.chat(response_format=FORMAT).status == 200
    (settings,) = [values[1] for verb, values in engine.calls if verb == "generate"]
    assert isinstance(settings, SamplingSettings)
    assert settings.grammar is not None and json.loads(settings.grammar) == SCHEMA


@pytest.fixture(scope="module")
def scripted() -> Iterator[Served]:
    with serving(FakeWriter(["a"] * 9)) as server:
        yield server


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"response_format": {"type": "json_schema"}}, "no json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"json_schema": {"not": {}}}, "these keywords can't be enforced: not"),
        ({"guided_json": "{]"}, "column 2"),
        ({"guided_regex": "[a"}, "column 1"),
        ({"grammar": "start: b"}, "line 1"),
        ({"grammar": 'root ::= "' + "x" * LONGEST + '"'}, "the most is"),
        ({"guided_choice": []}, "needs one text"),
        ({"grammar": GBNF, "guided_regex": "a"}, "one grammar only"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "is not a field"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_can_not_be_followed_is_refused(
    scripted: Served, fields: dict[str, Any], words: str
) -> None:
    for reply in (scripted.chat(**fields), scripted.complete(prompt="a", **fields)):
        assert reply.status == 400
        assert words in reply.message


def test_drawing_for_another_lmtui_takes_no_grammar(scripted: Served) -> None:
    body = {"prompt": [1], "max_tokens": 1, "guided_regex": "a"}
    reply = scripted.ask("/draw", body)
    assert reply.status == 400 and "no grammar" in reply.message
