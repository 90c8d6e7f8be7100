"""`/logits`, `/tokenizer.json` and entropies: what `lmtui` itself asks a server for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.scoring.raw_logits import from_bytes
from lmtui.engine.types import Prompt
from lmtui.serve.limits import Limits
from tests.engine import tiny
from tests.serve.serving import Served, serving

IDS = [3 + (7 * i * i + i) % 200 for i in range(30)]
SIZE = len(tiny.tokenizer())


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(tiny.engine(), limits=Limits(logits=4 * SIZE * 40)) as found:
        yield found


@pytest.mark.parametrize("keep", [1, 2, 29, 30, 31])
def test_logits_are_those_of_the_model(served: Served, keep: int) -> None:
    reply = served.ask("/logits", {"prompts": [IDS, IDS[:5]], "last_tokens": keep})
    assert reply.headers["content-type"] == "application/octet-stream"
    expected = [tiny.engine().backend.logits(each, keep=min(keep, len(each)))
                for each in (IDS, IDS[:5])]  # fmt: skip
    found = from_bytes(reply.data, SIZE)
    assert torch.allclose(found, torch.cat(expected), atol=1e-4)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "prompts can't be used"),
        ({"prompts": []}, "prompts can't be used"),
        ({"prompts": [[]]}, "prompts[0] can't be used"),
        ({"prompts": ["x"]}, "prompts[0] can't be used"),
        ({"prompts": [[SIZE]]}, "no token with this id"),
        ({"prompts": [[-1]]}, "prompts[0][0] can't be used"),
        ({"prompts": [[5]], "last_tokens": 0}, "last_tokens can't be used"),
        ({"prompts": [[5] * 600]}, "does not fit the context"),
        ({"prompts": [[5]] * 41}, "too many bytes of logits"),
        ({"prompts": [[5] * 41], "last_tokens": 41}, "too many bytes of logits"),
        ({"prompts": [[5]] * 2000}, "too many answers"),
    ],
)
def test_what_can_not_be_given_is_refused(
    served: Served, body: object, words: str
) -> None:
    reply = served.ask("/logits", body)
    assert reply.status == 400
    assert words in reply.message


def test_request_for_another_model_is_refused(served: Served) -> None:
    reply = served.ask("/logits", {"prompts": [[5]], "model": "other"})
    assert (reply.status, reply.message[:25]) == (404, "this model is not served:")


def test_tokenizer_is_sent_whole(served: Served) -> None:
    reply = served.ask("/tokenizer.json")
    assert reply.data.decode() == tiny.tokenizer().backend_tokenizer.to_str()


def test_entropies_are_added_to_prompt_logprobs(served: Served) -> None:
    asked = {"prompt": IDS, "max_tokens": 0, "prompt_logprobs": 0}
    (choice,) = served.complete(**asked, return_entropies=True).json["choices"]
    scored = list(tiny.engine().score(IDS))
    for name, expected in (
        ("prompt_entropies", [token.entropy for token in scored]),
        ("prompt_varentropies", [token.varentropy for token in scored]),
    ):
        found = choice[name]
        assert found[0] is None and expected[0] is None
        assert found[1:] == pytest.approx(expected[1:], abs=1e-5)
    (without,) = served.complete(**asked).json["choices"]
    assert "prompt_entropies" not in without


DRAWN = {"temperature": 0.9, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 5}


def records(data: bytes) -> list[tuple[int, torch.Tensor]]:
    size = 4 * (SIZE + 1)
    assert len(data) % size == 0
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return [
        (int.from_bytes(part[:4], "little"), from_bytes(part[4:], SIZE)[0])
        for part in parts
    ]


def test_drawn_tokens_come_with_the_logits_they_were_drawn_from(served: Served) -> None:
    reply = served.ask("/draw", {"prompt": IDS, "max_tokens": 9, **DRAWN})
    assert reply.headers["content-type"] == "application/octet-stream"
    engine, ids = tiny.engine(), list(IDS)
    settings = SamplingSettings(**DRAWN, max_tokens=9)
    *steps, _ = engine.generate(Prompt(tuple(IDS), ""), settings)
    found = records(reply.data)
    assert [token for token, _ in found] == [step.id for step in steps]
    for token, row in found:
        assert torch.allclose(row, engine.backend.logits(ids)[0], atol=1e-4)
        ids.append(token)


def test_answer_in_two_parts_is_the_answer(served: Served) -> None:
    whole = records(served.ask("/draw", {"prompt": IDS, "max_tokens": 9, **DRAWN}).data)
    first = [token for token, _ in whole[:4]]
    body = {"prompt": [*IDS, *first], "drawn": 4, "max_tokens": 5, **DRAWN}
    rest = records(served.ask("/draw", body).data)
    assert [token for token, _ in rest] == [token for token, _ in whole[4:]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"max_tokens": 3}, "prompt can't be used"),
        ({"prompt": [], "max_tokens": 3}, "prompt can't be used"),
        ({"prompt": [5]}, "max_tokens can't be used"),
        ({"prompt": [5], "max_tokens": 41}, "too many bytes of logits"),
        ({"prompt": [SIZE], "max_tokens": 1}, "no token with this id"),
        ({"prompt": [5], "max_tokens": 1, "n": 2}, "n can't be used"),
        ({"prompt": [5] * 512, "max_tokens": 1}, "does not fit the context"),
        ({"prompt": [5], "max_tokens": 1, "temperature": -1}, "temperature"),
    ],
)
def test_draw_that_can_not_be_made_is_refused(
    served: Served, body: object, words: str
) -> None:
    reply = served.ask("/draw", body)
    assert reply.status == 400
    assert words in reply.message
