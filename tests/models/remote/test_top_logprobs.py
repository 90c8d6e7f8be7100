"""What servers of other programs send is checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.models.model_info import ModelInfo
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.dialects import DIALECTS, VLLM
from lmtui.models.remote.load import dialect_of
from lmtui.models.remote.top_logprobs import (
    Row,
    TopLogprobsModel,
    open_top_logprobs,
)
from tests.models.remote.scripted import answer, connected, scripted

FACTS = ModelInfo("unknown", 0, 9, 100, frozenset({0}), ())
DRAWN: Any = {
    each.name: getattr(SamplingSettings(), each.name)
    for each in fields(SamplingSettings)
} | {"logit_bias": {}, "seed": 7, "max_tokens": 5}
ROW = Row((3, 4), (-1.0, -1.5))


def model(dialect: str, connection: Connection) -> TopLogprobsModel:
    return TopLogprobsModel(
        connection, DIALECTS[dialect], "m", FACTS, 2, answer_name="m"
    )


def pairs(*listed: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    return list(listed) or [(3, -1.0), (4, -1.5)]


def vllm(listed: list[tuple[Any, Any]], own: Any = (3, -1.0)) -> Any:
    token, value = own
    logprobs = {
        "tokens": [f"token_id:{token}"],
        "token_logprobs": [value],
        "top_logprobs": [{f"token_id:{i}": each for i, each in listed}],
        "text_offset": [0],
    }
    return {"choices": [{"index": 0, "text": "x", "logprobs": logprobs}]}


def llama(listed: list[tuple[Any, Any]], own: Any = (3, -1.0)) -> Any:
    def entry(token: Any, value: Any) -> Any:
        return {"id": token, "token": "x", "bytes": [120], "logprob": value}

    top = {"top_logprobs": [entry(*each) for each in listed]}
    return {"content": "x", "completion_probabilities": [{**entry(*own), **top}]}


SHAPES: dict[str, Callable[..., Any]] = {
    "vllm": vllm,
    "llama-server": llama,
}


def next_row(dialect: str, sent: Any) -> Row:
    with (
        scripted([answer(json.dumps(sent).encode())]) as served,
        connected(served) as connection,
    ):
        (row,) = model(dialect, connection).rows_after([[1, 2]])
        return row


ENDS: dict[str, Any] = {
    "vllm": {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
    "llama-server": {"content": "", "stop": True},
}


def drawn(dialect: str, *sent: Any, whole: bool = True) -> Any:
    if whole:
        sent = *sent, ENDS[dialect]
    lines = "".join(f"data: {json.dumps(each)}\n\n" for each in sent)
    with (
        scripted([answer(lines.encode())]) as served,
        connected(served) as connection,
    ):
        return list(model(dialect, connection).draw([1, 2], DRAWN))


@pytest.mark.parametrize("dialect", SHAPES)
def test_row_holds_the_most_probable_tokens(dialect: str) -> None:
    shape = SHAPES[dialect]
    assert next_row(dialect, shape(pairs())) == ROW
    # One more than was asked for, as vLLM sends it, and in any order.
    assert next_row(dialect, shape(pairs((5, -9), (4, -1.5), (3, -1.0)))) == ROW
    sure = next_row(dialect, shape(pairs((3, 1e-4), (4, -9999.0)), (3, 1e-4)))
    assert sure.logprobs == (0.0, -math.inf)


@pytest.mark.parametrize("dialect", SHAPES)
@pytest.mark.parametrize(
    "listed",
    [
        [(3, 0.5), (4, -1)],
        [(3, math.nan), (4, -1)],
        [(3, "x"), (4, -1)],
        [(3, True), (4, -1)],
        [(3, None), (4, -1)],
        [(9, -1), (4, -1)],
        [(-1, -1), (4, -1)],
        [("x", -1), (4, -1)],
        [(3, -0.1), (4, -0.1)],
        [(3, -1)],
        [(3, -1), (3, -2)],
    ],
)
def test_row_that_is_none_is_an_error(dialect: str, listed: Any) -> None:
    with pytest.raises(LmtuiError, match="can't be used"):
        next_row(dialect, SHAPES[dialect](listed))


@pytest.mark.parametrize("dialect", SHAPES)
@pytest.mark.parametrize("sent", [[], {}, None, 5, {"choices": []}])
def test_answer_of_another_shape_is_an_error(dialect: str, sent: Any) -> None:
    with pytest.raises(LmtuiError, match="can't be used"):
        next_row(dialect, sent)


@pytest.mark.parametrize("dialect", SHAPES)
def test_drawn_tokens_come_with_their_rows(dialect: str) -> None:
    shape = SHAPES[dialect]
    (token,) = drawn(dialect, shape(pairs(), (7, -4.0)))
    assert (token.id, token.logprob, token.row) == (7, -4.0, ROW)
    for own in ((9, -1.0), (3, 0.5), (3, None)):
        with pytest.raises(LmtuiError, match="can't be used"):
            drawn(dialect, shape(pairs(), own))


@pytest.mark.parametrize("dialect", SHAPES)
def test_answer_that_has_no_end_broke_off(dialect: str) -> None:
    with pytest.raises(LmtuiError, match="broke off"):
        drawn(dialect, SHAPES[dialect](pairs()), whole=False)


def test_event_with_no_choice_counts_tokens() -> None:
    usage = {"choices": [], "usage": {"completion_tokens": 1}}
    (token,) = drawn("vllm", vllm(pairs()), ENDS["vllm"], usage, whole=False)
    assert token.id == 3


REFUSED = answer(b'{"error": {"message": "too many"}}', "400 Bad Request")


@pytest.mark.parametrize(
    ("refusal", "asked"),
    [
        (REFUSED, [9, 5, 1]),
        (answer(b"{}", "503 Service Unavailable"), [9]),
        (answer(b"{}", "404 Not Found"), [9]),
        (answer(b"{}", "500 Internal Server Error"), [9]),
        (answer(b'{"choices": []}'), [9]),
    ],
)
def test_fewer_tokens_are_asked_for_only_where_so_many_are_refused(
    refusal: bytes, asked: list[int]
) -> None:
    about = {"id": "m", "max_model_len": 9}
    with (
        scripted([refusal] * 9) as served,
        connected(served) as connection,
        pytest.raises(LmtuiError),
    ):
        open_top_logprobs(connection, VLLM, about, FACTS)
    bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in served.asked]
    assert [body["logprobs"] for body in bodies] == asked


@pytest.mark.parametrize("dialect", ["vllm", "llama-server"])
def test_answer_of_another_model_is_an_error(dialect: str) -> None:
    shape = SHAPES[dialect]
    assert next_row(dialect, shape(pairs()) | {"model": "m"}) == ROW
    for ask in (next_row, drawn):
        with pytest.raises(LmtuiError, match="another model now: other at"):
            ask(dialect, shape(pairs()) | {"model": "other"})


def test_dialect_is_told_by_the_server_or_the_user() -> None:
    named = {"vllm": "vllm", "llamacpp": "llama-server"}
    for owner, dialect in {**named, "lmtui": "lmtui", "openai": "openai"}.items():
        assert dialect_of({"owned_by": owner}, ServerOptions()) == dialect
    assert dialect_of({}, ServerOptions()) == "openai"
    forced = ServerOptions(dialect="vllm")
    assert dialect_of({"owned_by": "lmtui"}, forced) == "vllm"
