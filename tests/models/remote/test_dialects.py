"""What servers of other programs send is checked before it is used.

llama-server's and vLLM's shapes are those of a real one; SGLang's are typed from its
documentation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.model_info import ModelInfo
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.dialect import (
    AnswerToken,
    DrawRequest,
    ListingModel,
    Row,
    tells_raw_numbers,
)
from lmtui.models.remote.llama_server import LlamaServerModel
from lmtui.models.remote.open import dialect_of
from lmtui.models.remote.sglang import SglangModel
from lmtui.models.remote.vllm import VllmModel
from tests.models.remote.scripted import answer, connected, scripted

FACTS = ModelInfo("unknown", 0, 9, 100, frozenset({0}), ())
REQUEST = DrawRequest([1, 2], 0.7, 40, 0.95, 0.05, 1.0, 7, 5)
ROW = Row((3, 4), (-1.0, -1.5))


def model(dialect: str, connection: Connection) -> ListingModel:
    if dialect == "vllm":
        return VllmModel(connection, "m", FACTS, 2, answer_name="m")
    if dialect == "sglang":
        return SglangModel(connection, "m", FACTS, 2)
    return LlamaServerModel(connection, "m", FACTS, 2, "Q4_1", answer_name="m")


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


def sglang(listed: list[tuple[Any, Any]], own: Any = (3, -1.0)) -> Any:
    meta = {
        "completion_tokens": 1,
        "output_token_logprobs": [[own[1], own[0], None]],
        "output_top_logprobs": [[[value, token, None] for token, value in listed]],
    }
    return {"text": "x", "meta_info": meta}


SHAPES: dict[str, Callable[..., Any]] = {
    "vllm": vllm,
    "sglang": sglang,
    "llama-server": llama,
}


def next_row(dialect: str, sent: Any) -> Row:
    if dialect == "sglang":
        sent = [sent]
    with (
        scripted([answer(json.dumps(sent).encode())]) as served,
        connected(served) as connection,
    ):
        (row,) = model(dialect, connection).rows_after([[1, 2]])
        return row


ENDS: dict[str, Any] = {
    "vllm": {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
    "sglang": None,  # its last event has the last token, too
    "llama-server": {"content": "", "stop": True},
}


def drawn(dialect: str, *sent: Any, whole: bool = True) -> Any:
    if whole and ENDS[dialect]:
        sent = *sent, ENDS[dialect]
    elif whole:
        meta = sent[-1]["meta_info"]
        sent[-1]["meta_info"] = {**meta, "finish_reason": {"type": "length"}}
    lines = "".join(f"data: {json.dumps(each)}\n\n" for each in sent)
    with (
        scripted([answer(lines.encode())]) as served,
        connected(served) as connection,
    ):
        return list(model(dialect, connection).draw(REQUEST))


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
@pytest.mark.parametrize("sent", [[], {}, None, 5, {"choices": []}, {"meta_info": 1}])
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
        VllmModel.open(connection, about, FACTS)
    bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in served.asked]
    assert [body["logprobs"] for body in bodies] == asked


@pytest.mark.parametrize(("power", "raw"), [(1.0, True), (2.0, False)])
def test_numbers_after_the_temperature_are_noticed(power: float, raw: bool) -> None:
    class Scaled(VllmModel):
        def rows_after(self, *_: Any, **__: Any) -> list[Row]:
            return [ROW]

        def draw(self, *_: Any, **__: Any) -> Any:
            scaled = Row(ROW.ids, tuple(power * each for each in ROW.logprobs))
            yield AnswerToken(3, -1.0, scaled)

    with scripted([]) as served, connected(served) as connection:
        found = tells_raw_numbers(Scaled(connection, "m", FACTS, 2))
    assert found is raw


def test_sglang_may_send_all_tokens_so_far_or_only_the_new_ones() -> None:
    first, second = sglang(pairs()), sglang(pairs(), (4, -1.5))
    both = json.loads(json.dumps(second))
    for name in ("output_token_logprobs", "output_top_logprobs"):
        rows = first["meta_info"][name], second["meta_info"][name]
        both["meta_info"][name] = [*rows[0], *rows[1]]
    second["meta_info"]["completion_tokens"] = 2
    both["meta_info"]["completion_tokens"] = 2
    for later in (second, both):
        assert [token.id for token in drawn("sglang", first, later)] == [3, 4]


def test_llama_server_that_draws_another_token_than_it_has_to_is_an_error() -> None:
    with (
        scripted([answer(json.dumps(llama(pairs())).encode())]) as served,
        connected(served) as connection,
        pytest.raises(LmtuiError, match="another token"),
    ):
        model("llama-server", connection).score([[1, 2]], 1, least=1)


@pytest.mark.parametrize("dialect", ["vllm", "llama-server"])
def test_answer_of_another_model_is_an_error(dialect: str) -> None:
    shape = SHAPES[dialect]
    assert next_row(dialect, shape(pairs()) | {"model": "m"}) == ROW
    for ask in (next_row, drawn):
        with pytest.raises(LmtuiError, match="another model now: other at"):
            ask(dialect, shape(pairs()) | {"model": "other"})


def test_dialect_is_told_by_the_server_or_the_user() -> None:
    named = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama-server"}
    for owner, dialect in {**named, "lmtui": "lmtui", "openai": "openai"}.items():
        assert dialect_of({"owned_by": owner}, ServerOptions()) == dialect
    assert dialect_of({}, ServerOptions()) == "openai"
    forced = ServerOptions(dialect="vllm")
    assert dialect_of({"owned_by": "lmtui"}, forced) == "vllm"
