"""What a server tells of its model is checked before it is used."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.model_info import ModelInfo
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.lmtui_server import LmtuiServerModel, open_model
from lmtui.models.remote.load import find_model
from tests.models.remote.scripted import answer, connected, scripted

FACTS = ModelInfo("Tiny", 1, 5, 100, frozenset({0}), ())
MODEL: dict[str, Any] = {
    "id": "tiny",
    "owned_by": "lmtui",
    "max_model_len": 100,
    "meta": {
        "n_vocab": 5,
        "n_params": 1,
        "architecture": "Tiny",
        "eos_token_ids": [0],
        "generation_defaults": {},
        "device": "cpu",
        "dtype": "float32",
    },
}


def opened(connection: Connection, name: str = "") -> LmtuiServerModel:
    return open_model(connection, find_model(connection, name))


def ask(data: object, use: Callable[[Connection], Any]) -> Any:
    """Use a connection whose server answers with this."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    with scripted([answer(body)]) as served, connected(served) as connection:
        return use(connection)


def test_first_model_is_taken_or_the_one_that_is_named() -> None:
    listed = {"data": [MODEL, {**MODEL, "id": "other"}]}
    assert ask(listed, opened).name == "tiny"
    found = ask(listed, lambda connection: opened(connection, "other"))
    assert (found.name, found.facts) == ("other", FACTS)
    assert (found.device, found.number_format) == ("cpu", "float32")
    with pytest.raises(LmtuiError, match="no such model") as caught:
        ask(listed, lambda connection: opened(connection, "third"))
    assert "tiny, other" in caught.value.hint


@pytest.mark.parametrize(
    "listed",
    [
        [],
        {"data": []},
        {"data": [{**MODEL, "max_model_len": -1}]},
        {"data": [{**MODEL, "max_model_len": True}]},
        {"data": [{**MODEL, "meta": {**MODEL["meta"], "n_vocab": 1 << 40}}]},
        {"data": [{**MODEL, "meta": {**MODEL["meta"], "eos_token_ids": ["x"]}}]},
        {"data": [{**MODEL, "meta": None}]},
    ],
)
def test_nonsense_about_models_is_an_error(listed: object) -> None:
    with pytest.raises(LmtuiError, match="can't be used"):
        ask(listed, opened)


def test_tokenizer_that_is_none_is_an_error() -> None:
    with (
        scripted([answer(b"{}"), answer(b"{}")]) as served,
        connected(served) as connection,
        pytest.raises(LmtuiError, match="its tokenizer"),
    ):
        LmtuiServerModel(connection, "tiny", FACTS, "float32", "cpu").tokenizer()


def test_logits_of_another_size_are_an_error() -> None:
    def use(connection: Connection) -> bytes:
        model = LmtuiServerModel(connection, "tiny", FACTS, "float32", "cpu")
        return model.logits([[1, 2]], keep=3)

    assert ask(bytes(40), use) == bytes(40)
    for size in (0, 39, 41):
        with pytest.raises(LmtuiError, match="can't be used"):
            ask(bytes(size), use)


def scored(
    row: object, entropy: object = 1.5, ids: tuple[int, ...] = (1, 2), **more: object
) -> Any:
    choice = {
        "prompt_logprobs": [None, row],
        "prompt_entropies": [None, entropy],
        "prompt_varentropies": [None, 0.5],
        **more,
    }

    def use(connection: Connection) -> Any:
        model = LmtuiServerModel(connection, "tiny", FACTS, "float32", "cpu")
        return list(model.scores(ids, top_n=1))

    return ask({"choices": [choice]}, use)


def entry(logprob: object, rank: object = 1) -> dict[str, object]:
    return {"logprob": logprob, "rank": rank, "decoded_token": "x"}


def test_scores_are_those_of_the_rows() -> None:
    rows = {"2": entry(-2.0, 2), "3": entry(-1.0)}
    assert scored(rows) == [(-2.0, 2, 1.5, 0.5, ((3, -1.0),))]
    [(impossible, *_)] = scored({"2": entry(-9999.0, 5)})
    assert impossible == -math.inf


@pytest.mark.parametrize(
    ("row", "entropy"),
    [
        ({"2": entry(0.5)}, 1.5),
        ({"2": entry(math.nan)}, 1.5),
        ({"2": entry("x")}, 1.5),
        ({"2": entry(-1, 0)}, 1.5),
        ({"2": entry(-1, 6)}, 1.5),
        ({"3": entry(-1)}, 1.5),
        ({"2": entry(-1)}, -1),
        ({"2": entry(-1)}, math.nan),
        ({"2": entry(-1)}, None),
        (None, 1.5),
        ([], 1.5),
    ],
)
def test_scores_that_are_none_are_an_error(row: object, entropy: object) -> None:
    with pytest.raises(LmtuiError, match="its scores"):
        scored(row, entropy)


@pytest.mark.parametrize(
    "varentropies", [[None], [None, -1], [None, math.inf], [0, "x"]]
)
def test_varentropies_that_are_none_are_an_error(varentropies: list[object]) -> None:
    with pytest.raises(LmtuiError, match="its scores"):
        scored({"2": entry(-1)}, prompt_varentropies=varentropies)


def test_scores_of_fewer_tokens_are_an_error() -> None:
    with pytest.raises(LmtuiError, match="2 scores of 3 tokens"):
        scored({"2": entry(-1)}, ids=(1, 2, 3))
