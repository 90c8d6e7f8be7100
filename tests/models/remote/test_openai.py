"""A model that is only talked with: what its server takes, and what it may send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lmtui.errors import LmtuiError
from lmtui.models.load import load
from lmtui.models.progress import Progress
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.load import TextOnlyModel, load_remote
from lmtui.models.remote.openai import ChatPart, ChatRequest, ChatToken, OpenAiModel
from tests.models.remote.scripted import answer, connected, scripted

ABOUT = {"id": "some-model", "owned_by": "someone"}
REQUEST = ChatRequest([("user", "Hi")], max_tokens=5)

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
        return list(model.draw(REQUEST))


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


def test_completions_shape_is_read_too() -> None:
    legacy = {
        "tokens": [" the"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{" the": -0.5, " a": -1.2}],
        "text_offset": [0],
    }
    part, _ = drawn(stream(choice(legacy), END))
    assert part.tokens == (TOKEN,)
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
        choice({"tokens": [" the"], "token_logprobs": []}),
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
        parts = OpenAiModel(connection, "m", 2).draw(REQUEST)
        assert next(parts).text == " the"
        with pytest.raises(LmtuiError, match="breaks off"):
            next(parts)


def test_half_a_character_is_replaced() -> None:
    part, _ = drawn(stream(choice(None, "a\ud83d"), END))
    assert part.text == "a\ufffd"


# What a server takes.

REFUSED = answer(b'{"error": {"message": "unknown field"}}', "400 Bad Request")
ONE = stream(EVENT, END)


def opened(*sent: bytes, about: Any = ABOUT) -> tuple[OpenAiModel, list[Any]]:
    with scripted(sent) as served, connected(served) as connection:
        model = OpenAiModel.open(connection, about)
    bodies = [json.loads(each.partition(b"\r\n\r\n")[2]) for each in served.asked]
    return model, bodies


def test_all_fields_are_sent_to_a_server_that_takes_them() -> None:
    model, bodies = opened(*[ONE] * 3, about={**ABOUT, "max_model_len": 4096})
    assert (model.rows, model.context, model.ignores) == (2, 4096, ())
    assert [body["top_logprobs"] for body in bodies] == [20, 2, 2]
    beyond = {
        "top_k",
        "min_p",
        "repetition_penalty",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
        "samplers",
    }
    assert [set(body) - set(bodies[0]) for body in bodies[1:]] == [beyond, beyond]
    assert model.takes >= {"temperature", "presence_penalty", "frequency_penalty"}


def test_settings_are_left_out_where_the_server_refuses_them() -> None:
    model, _ = opened(ONE, REFUSED, ONE)
    assert model.ignores == ("top_k", "min_p", "repetition_penalty")
    assert model.extra == {"presence_penalty", "frequency_penalty"}
    model, _ = opened(ONE, REFUSED, REFUSED)
    assert model.extra == frozenset()


def test_setting_without_effect_is_one_that_the_server_ignores() -> None:
    rare = {**ENTRY, "token": " a", "bytes": [32, 97], "logprob": -1.2}
    other = stream(choice({"content": [rare]}, " a"), END)
    model, _ = opened(ONE, other, ONE)
    assert model.ignores == ("top_k",)


def test_setting_whose_effect_is_not_seen_is_one_that_the_server_ignores() -> None:
    model, _ = opened(ONE, *[stream(END)] * 2)
    assert model.rows == 2 and model.ignores == ("top_k", "min_p")
    yes, no = (stream(choice(None, text), END) for text in ("Yes", "No"))
    model, _ = opened(yes, yes, yes, yes, no)
    assert model.rows == 0 and model.ignores == ("min_p",)


def test_fewer_tokens_are_asked_for_where_the_server_allows_no_more() -> None:
    model, bodies = opened(REFUSED, REFUSED, *[ONE] * 8)
    assert [body.get("top_logprobs") for body in bodies[:3]] == [20, 10, 5]
    assert model.rows == 2
    model, _ = opened(*[REFUSED] * 3, stream(choice(None), END), *[ONE] * 9)
    assert model.rows == 0
    model, _ = opened(stream(choice(None), END), *[ONE] * 9)  # it ignores the field
    assert model.rows == 0


def test_server_that_refuses_for_another_reason_is_asked_once() -> None:
    busy = answer(b"{}", "503 Service Unavailable")
    for refusal in (busy, answer(b"{}", "401 No")):
        with pytest.raises(LmtuiError):
            opened(refusal)
    with pytest.raises(LmtuiError, match="unknown field"):
        opened(*[REFUSED] * 16)


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
    assert isinstance(model, TextOnlyModel) and model.label.endswith("#some-model")
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
    (said,) = warnings(listed(), ONE, *[REFUSED] * 7)
    assert "top k, min p, repetition penalty" in said and "control tokens" in said


def test_model_without_ids_is_refused_where_they_are_needed() -> None:
    with (
        scripted([listed(), *[ONE] * 8]) as served,
        pytest.raises(LmtuiError, match="a text can't be used here") as caught,
    ):
        load(served.url, server=ServerOptions(tokenizer="here"))
    assert "--tokenizer" not in caught.value.hint


def test_exact_drawing_that_can_not_be_is_said() -> None:
    said = warnings(listed(), *[ONE] * 8, dialect="openai", exact_drawing=True)
    assert any("exact_drawing" in each for each in said)
