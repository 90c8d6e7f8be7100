"""What ends an answer, and from where on: vLLM's fields, with a real model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine import tiny
from tests.serve.serving import Served, serving

PROMPT = "the cat"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(lambda: tiny.engine()) as server:
        yield server


@pytest.fixture(scope="module")
def end(served: Served) -> int:
    """A token with which the model ends a text."""
    (about,) = served.ask("/v1/models").json["data"]
    return int(about["meta"]["eos_token_ids"][0])


def ids_of(served: Served, text: str) -> list[int]:
    return [int(i) for i in served.ask("/tokenize", {"prompt": text}).json["tokens"]]


def answer(served: Served, likely: dict[int, float], **fields: Any) -> Any:
    """The answer with some tokens more likely: its choice."""
    bias = {str(token): value for token, value in likely.items()}
    body = {"prompt": PROMPT, "max_tokens": 8, "return_token_ids": True, "seed": 1}
    reply = served.complete(**body, logit_bias=bias, **fields)
    assert reply.status == 200, reply.message
    (choice,) = reply.json["choices"]
    return choice


@pytest.mark.parametrize("least", [0, 1, 5])
def test_no_end_comes_before_so_many_tokens(
    served: Served, end: int, least: int
) -> None:
    choice = answer(served, {end: 100}, min_tokens=least)
    assert choice["token_ids"].index(end) == least == len(choice["token_ids"]) - 1
    assert choice["finish_reason"] == "stop"


def test_answer_goes_on_behind_ends_that_are_ignored(served: Served, end: int) -> None:
    choice = answer(served, {end: 100}, ignore_eos=True)
    assert (choice["token_ids"], choice["finish_reason"]) == ([end] * 8, "length")
    messages = [{"role": "user", "content": "a"}]
    body = {"messages": messages, "max_tokens": 8, "ignore_eos": True}
    reply = served.ask("/v1/chat/completions", body | {"logit_bias": {str(end): 100}})
    assert reply.json["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize("ignored", [False, True])
def test_token_of_the_client_ends_the_answer_and_is_no_part_of_its_text(
    served: Served, ignored: bool
) -> None:
    first, second = ids_of(served, "b")[0], ids_of(served, "c")[0]
    likely = {first: 100.0, second: 90.0}
    fields = {"ignore_eos": ignored, "temperature": 0}
    choice = answer(served, likely, stop_token_ids=[first], **fields)
    assert (choice["token_ids"], choice["text"]) == ([first], "")
    assert choice["finish_reason"] == "stop"
    # Its bias is the greatest, but not before two tokens.
    choice = answer(served, likely, stop_token_ids=[first], min_tokens=2, **fields)
    assert choice["token_ids"] == [second, second, first]
    assert choice["text"] == "cc"


def test_stop_text_counts_from_the_least_number_of_tokens_on(served: Served) -> None:
    likely = {ids_of(served, "b")[0]: 100.0}
    assert answer(served, likely, stop="bb")["text"] == ""
    choice = answer(served, likely, stop="bb", min_tokens=3)
    assert (choice["text"], choice["finish_reason"]) == ("bbb", "stop")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"min_tokens": 9}, "min_tokens is greater than max_tokens"),
        ({"min_tokens": -1}, "min_tokens can't be used"),
        ({"stop_token_ids": [10**6]}, "there is no token with this id"),
        ({"stop_token_ids": [1] * 2000}, "too many stop tokens"),
        ({"num_ctx": 1 << 20}, "too many tokens of context"),
    ],
)
def test_what_can_not_be_kept_is_refused(
    served: Served, fields: dict[str, Any], words: str
) -> None:
    reply = served.complete(prompt=PROMPT, max_tokens=8, **fields)
    assert reply.status == 400
    assert words in reply.message
