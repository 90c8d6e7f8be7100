"""`/logits`, `/tokenizer.json` and entropies: what `lmtui` itself asks a server for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from lmtui.engine.raw_logits import from_bytes
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
    expected = [token.entropy for token in tiny.engine().score(IDS)]
    found = choice["prompt_entropies"]
    assert found[0] is None and expected[0] is None
    assert found[1:] == pytest.approx(expected[1:], abs=1e-5)
    (without,) = served.complete(**asked).json["choices"]
    assert "prompt_entropies" not in without
