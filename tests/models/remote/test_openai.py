"""A model that is only talked with: what its server takes, and what it may send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.progress import Progress
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.load import load_remote
from lmtui.models.remote.openai import ChatPart, ChatToken, OpenAiModel
from tests.models.remote.scripted import answer, connected, scripted

ABOUT = {"id": "some-model", "owned_by": "someone"}
MESSAGES = [("user", "Hi")]
SETTINGS: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 0.0,
    "min_p": 0.0,
    "repetition_penalty": 1.2,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "seed": 7,
    "max_tokens": 5,
}

# Typed from OpenAI's API reference, vLLM's and llama-server's answers.
ENTRY = {
    "token": " the",
    "logprob": -0.5,
    "bytes": [32, 116, 104, 101],
    "top_logprobs": [
        {"token": " a", "logprob": -1.2, "bytes": [32, 97]},
        {"token": " the", "logprob": -0.5, "bytes": [32, 116, 104, 101]},
    ],
}
EVENT = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "choices": [
        {
            "index": 0,
            "delta": {"content": " the"},
            "logprobs": {"content": [ENTRY], "refusal": None},
            "finish_reason": None,
        }
    ],
    "usage": None,
}
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 1}}
TOKEN = ChatToken(b" the", -0.5, ((b" the", -0.5), (b" a", -1.2)))


def choice(logprobs: Any, content: str = " the") -> dict[str, Any]:
    return {"choices": [{"delta": {"content": content}, "logprobs": logprobs}]}


def stream(*events: Any, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return answer("".join([*lines, "data: [DONE]\n\n" if done else ""]).encode())


def drawn(*sent: bytes, rows: int = 2) -> list[ChatPart]:
    with scripted(sent) as served, connected(served) as connection:
        model = OpenAiModel(connection, "some-model", rows)
        return list(model.draw(MESSAGES, SETTINGS))


def test_tokens_come_with_what_is_listed() -> None:
    first, end, usage = drawn(stream(EVENT, END, USAGE))
    assert first == ChatPart(" the", (TOKEN,))
    assert end.reason == "stop" and usage.prompt_tokens == 12


def test_bytes_may_be_left_out() -> None:
    # The shape of llama-cpp-python.
    bare = {"token": "à", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    (part, _) = drawn(stream(choice({"content": [bare]}, "à"), END))
    assert part.tokens == (ChatToken("à".encode(), -0.5),)


def test_token_may_have_no_numbers() -> None:
    bare, listed = {**ENTRY, "logprob": None}, ENTRY["top_logprobs"]
    short = {**ENTRY, "top_logprobs": [{**listed[0], "logprob": None}, listed[1]]}  # type: ignore[index, dict-item]
    (part, _) = drawn(stream(choice({"content": [bare, short]}), END))
    none, some = part.tokens
    assert none == ChatToken(b" the", None)
    assert some == ChatToken(b" the", -0.5, ((b" the", -0.5),))


def test_numbers_of_ids_are_none() -> None:
    ids = {"tokens": [5], "token_logprobs": [-0.5], "top_logprobs": [{"5": -0.5}]}
    part, _ = drawn(stream(choice(ids), END))  # older mlx_lm.server
    assert part == ChatPart(" the")


def test_thinking_that_comes_apart_is_marked() -> None:
    thought = [{"choices": [{"delta": {"reasoning_content": t}}]} for t in ("So", ".")]
    parts = drawn(stream(*thought, choice(None, "Yes"), choice(None, "!"), END))
    assert "".join(part.text for part in parts) == "<think>\nSo.\n</think>\n\nYes!"


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        "text",
        {"choices": 5},
        {"choices": [5]},
        {"choices": [{"delta": {"content": 5}}]},
        {"choices": [{"delta": []}, "x"], "usage": 7},
        choice({"content": [{**ENTRY, "logprob": 0.5}]}),
        choice({"content": [{**ENTRY, "logprob": float("nan")}]}),
        choice({"content": [{**ENTRY, "logprob": "none"}]}),
        choice({"content": [{**ENTRY, "logprob": True}]}),
        choice({"content": [{**ENTRY, "bytes": [256]}]}),
        choice({"content": [{**ENTRY, "bytes": 3}]}),
        choice({"content": [{**ENTRY, "bytes": [65] * 5000}]}),
        choice({"content": [{**ENTRY, "token": None, "bytes": None}]}),
        choice({"content": [{**ENTRY, "top_logprobs": [ENTRY, ENTRY]}]}),
        choice({"content": [{**ENTRY, "top_logprobs": {"a": 1}}]}),
        choice({"content": 5}),
    ],
)
def test_nonsense_is_one_error(wrong: Any) -> None:
    with pytest.raises(LmtuiError):
        drawn(stream(wrong, END))


def test_answer_that_breaks_off_is_an_error_after_its_text() -> None:
    with (
        scripted([stream(EVENT, done=False)]) as served,
        connected(served) as connection,
    ):
        parts = OpenAiModel(connection, "m", 2).draw(MESSAGES, SETTINGS)
        assert next(parts).text == " the"
        with pytest.raises(LmtuiError, match="breaks off"):
            next(parts)


def test_half_a_character_is_replaced() -> None:
    part, _ = drawn(stream(choice(None, "a\ud83d"), END))
    assert part.text == "a\ufffd"


# What a server takes.

REFUSED = answer(b'{"error": {"message": "too long"}}', "400 Bad Request")
ONE = stream(EVENT, END)
OPENAI = {
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "max_tokens",
    "stream_options",
}


def refused(words: str, status: str = "400 Bad Request") -> bytes:
    return answer(json.dumps({"error": {"message": words}}).encode(), status)


def opened(*sent: bytes, about: Any = ABOUT) -> tuple[OpenAiModel, list[Any]]:
    with scripted(sent) as served, connected(served) as connection:
        model = OpenAiModel.open(connection, about)
    bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in served.asked]
    return model, bodies


@pytest.mark.parametrize(
    ("owner", "beyond", "ignored"),
    [
        ("someone", set(), ("top_k", "min_p", "repetition_penalty")),
        ("vllm", {"top_k", "min_p", "repetition_penalty"}, ()),
        ("llamacpp", {"top_k", "min_p", "repeat_penalty", "samplers"}, ()),
        ("organization_owner", {"top_k", "repeat_penalty"}, ("min_p",)),
    ],
)
def test_fields_that_a_server_documents_are_sent_by_one_question(
    owner: str, beyond: set[str], ignored: tuple[str, ...]
) -> None:
    about = {**ABOUT, "owned_by": owner, "max_model_len": 4096}
    model, (body,) = opened(ONE, about=about)
    assert (model.rows, model.context, model.ignores) == (2, 4096, ignored)
    assert body["top_logprobs"] == 20
    always = {"model", "messages", "stream", "logprobs", "top_logprobs"}
    assert set(body) == always | OPENAI | beyond
    assert model.takes >= {"temperature", "presence_penalty", "frequency_penalty"}


def test_settings_are_sent_with_the_values_that_servers_take() -> None:
    with scripted([ONE]) as served, connected(served) as connection:
        fields = ("top_k", "top_p", "repeat_penalty", "seed")
        list(OpenAiModel(connection, "m", fields=fields).draw(MESSAGES, SETTINGS))
    body = json.loads(served.asked[0].partition(b"\r\n\r\n")[2])
    assert (body["top_k"], body["repeat_penalty"], body["seed"]) == (-1, 1.2, 7)
    assert 0 < body["top_p"] < 1e-5 and "logprobs" not in body


def test_field_that_a_server_refuses_by_its_name_is_left_out() -> None:
    # Mistral's form, and that of OpenAI's models that reason.
    extra = {"type": "extra_forbidden", "loc": ["body", "seed"], "input": 0}
    mistral = answer(json.dumps({"detail": [extra]}).encode(), "422 Unprocessable")
    model, bodies = opened(mistral, ONE)
    assert "seed" in bodies[0] and set(bodies[0]) - set(bodies[1]) == {"seed"}
    model, bodies = opened(
        refused("'max_tokens' is not supported. Use 'max_completion_tokens'."),
        refused("'temperature' does not support 0.5 with this model."),
        refused("You are not allowed to request logprobs", "403 Forbidden"),
        *[refused("logprobs are not supported")] * 2,
        stream(choice(None), END),
    )
    assert bodies[-1]["max_completion_tokens"] == 16 and "max_tokens" not in bodies[-1]
    assert "temperature" in model.ignores and model.rows == 0


def test_fewer_tokens_are_asked_for_where_the_server_allows_no_more() -> None:
    many = refused("top_logprobs must be between 0 and 5")
    model, bodies = opened(many, many, ONE)
    assert [body.get("top_logprobs") for body in bodies] == [20, 10, 5]
    assert model.rows == 2
    model, _ = opened(stream(choice(None), END))  # it ignores the field
    assert model.rows == 0


def test_server_that_refuses_for_another_reason_is_asked_once() -> None:
    busy = answer(b"{}", "503 Service Unavailable")
    for refusal in (busy, answer(b"{}", "401 No"), refused("no seed", "500 Broken")):
        with pytest.raises(LmtuiError):
            opened(refusal)
    with pytest.raises(LmtuiError, match="too long"):
        opened(REFUSED)
    with pytest.raises(LmtuiError, match="no seed"):  # it was left out already
        opened(*[refused("no seed")] * 2)


def test_context_has_to_be_a_number() -> None:
    with pytest.raises(LmtuiError):
        opened(about={**ABOUT, "max_model_len": "long"})


# How it is opened.


def listed(**about: Any) -> bytes:
    return answer(json.dumps({"data": [{**ABOUT, **about}]}).encode())


def warnings(*sent: bytes, **options: Any) -> list[str]:
    """What is said of a server that is talked with."""
    heard: list[Progress] = []
    with scripted(sent) as served:
        model = load_remote(served.url, heard.append, ServerOptions(**options))
    assert isinstance(model, OpenAiModel) and model.name == "some-model"
    return [progress.what for progress in heard if progress.warning]


@pytest.mark.usefixtures("home")
def test_missing_tokenizer_leaves_answers() -> None:
    said, _ = warnings(listed(owned_by="vllm"), *[ONE] * 8)
    assert "some-model" in said and "--tokenizer" in said


def test_tokenizer_that_has_no_effect_is_named() -> None:
    assert any(
        "--tokenizer has no effect" in said
        for said in warnings(listed(), *[ONE] * 8, tokenizer="here")
    )


def test_ignored_settings_are_named() -> None:
    refusals = [refused(f"no {name} here") for name in ("top_p", "seed")]
    (said,) = warnings(listed(), *refusals, ONE)
    assert "top p, top k, min p, repetition penalty, seed" in said
    assert "control tokens" in said
