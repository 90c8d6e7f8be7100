"""`/v1/chat/completions`, `/tokenize`, `/tokenizer_info`, `/v1/models`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lmtui.engine.types import ChatTurn
from tests.fake_writing import FakeWriter
from tests.serve.serving import Served, serving

QUESTION = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Where"},
            {"type": "text", "text": " is it?"},
        ],
    },
]
PICTURE = {"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}
TURNS = [ChatTurn("system", "Be brief."), ChatTurn("user", "Where is it?")]


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serving(FakeWriter(["Yes."] * 99)) as found:
        yield found


def only(reply: Any) -> Any:
    (choice,) = reply.json["choices"]
    return choice


def test_message_is_answered() -> None:
    engine = FakeWriter(["Here."])
    with serving(engine) as served:
        reply = served.ask("/v1/chat/completions", {"messages": QUESTION})
    assert only(reply) == {
        "index": 0,
        "message": {"role": "assistant", "content": "Here.", "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert reply.json["object"] == "chat.completion"
    assert reply.json["usage"]["prompt_tokens"] == len(engine.prompt(TURNS).ids)


def test_answer_has_logprobs_of_each_token() -> None:
    with serving(FakeWriter(["Hé"])) as served:
        found = only(served.chat(logprobs=True, top_logprobs=2))["logprobs"]
    for entry in found["content"]:
        assert len(entry["top_logprobs"]) == 2
        assert entry["logprob"] <= entry["top_logprobs"][0]["logprob"]
    spelled = bytes(b for entry in found["content"][:-1] for b in entry["bytes"])
    assert spelled.decode() == "Hé"


def test_streamed_deltas_join_to_the_answer() -> None:
    with serving(FakeWriter(["Here it is."])) as served:
        first, *deltas, end = served.chat(stream=True).events
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(event["choices"][0]["delta"]["content"] for event in deltas)
    assert text == "Here it is."
    assert end["choices"][0]["delta"] == {}
    assert end["choices"][0]["finish_reason"] == "stop"


def test_last_message_can_be_continued() -> None:
    engine = FakeWriter([" there."])
    messages = [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": "Over"},
    ]
    body = {
        "messages": messages,
        "continue_final_message": True,
        "add_generation_prompt": False,
    }
    with serving(engine) as served:
        assert only(served.ask("/v1/chat/completions", body))["message"]["content"] == (
            " there."
        )
        tokens = served.ask("/tokenize", body).json["tokens"]
    expected = engine.prompt([ChatTurn("user", "Where?")], prefill="Over").ids
    assert tokens == list(expected)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": []}, "messages can't be used"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "messages[0].role can't"),
        ({"messages": [{"role": "tool", "content": None}]}, "tool needs a content"),
        ({"messages": [{"role": "user"}]}, "the role user needs a content"),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, "messages[0].content"),
        ({"tools": [{"type": "function"}]},
         'tools is not supported, except with "tool_choice": "none"'),
        ({"response_format": {"type": "xml"}}, "response_format.type can't be used"),
        ({"top_logprobs": 2}, "top_logprobs needs logprobs"),
        ({"continue_final_message": True}, "needs a last message of the assistant"),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "exclude"),
        ({"stream_options": {"x": 1}}, "stream_options.x is not a field"),
        ({"messages": [{"role": "user", "content": 5}]},
         "messages[0].content can't be used: give a text, or parts of the type text"),
        ({"tools": [{"type": "function"}], "tool_choice": "auto"}, "tools is not"),
        ({"priority": 3}, "priority is not supported"),
        ({"reasoning_effort": "high"}, "reasoning_effort is not supported"),
        ({"modalities": ["text", "audio"]}, "modalities is not supported"),
        ({"think": True}, "can't be told to think"),
        ({"stream_options": {"continuous_usage_stats": True}}, "continuous_usage"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "can't be told to think"),
        ({"chat_template_kwargs": {"path": "/etc/passwd"}}, "chat_template_kwargs"),
        ({"chat_template": "{{ x }}"}, "chat_template is not a field"),
    ],
)  # fmt: skip
def test_what_is_wrong_or_not_supported_is_refused(
    served: Served, body: dict[str, object], words: str
) -> None:
    reply = served.chat(**body)
    assert reply.status == 400
    assert words in reply.message


@pytest.mark.parametrize(
    "field",
    [
        {"tools": [{"type": "function"}], "tool_choice": "none"},
        {"skip_special_tokens": True, "spaces_between_special_tokens": True},
        {"prompt_cache_key": "x", "cache_prompt": True, "request_id": "a"},
        {"verbosity": "low", "priority": 0, "n_probs": 0, "stop_token_ids": []},
        {"stream_options": {"continuous_usage_stats": False}, "tools": None},
        {"reasoning_effort": "medium", "include_reasoning": True, "think": False},
        {"detokenize": True, "modalities": ["text"], "keep_alive": "5m"},
        {"num_ctx": 16, "id_slot": -1, "reasoning_format": "none"},
        {"return_progress": False, "timings_per_token": False, "ignore_eos": False},
    ],
)
def test_field_that_changes_nothing_is_taken(
    served: Served, field: dict[str, object]
) -> None:
    assert only(served.chat(**field))["message"]["content"] == "Yes."


def test_history_with_calls_of_tools_can_be_gone_on_with() -> None:
    engine = FakeWriter(["Rain."])
    call = {"function": {"name": "weather", "arguments": '{"city": "Tønder"}'}}
    history = [
        {"role": "user", "content": "Which weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"} | call]},
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "One moment.", "tool_calls": [call, call]},
        {"role": "tool", "content": [{"type": "text", "text": "rain"}]},
    ]
    with serving(engine) as served:
        reply = served.ask("/v1/chat/completions", {"messages": history})
    assert only(reply)["message"]["content"] == "Rain."
    said = '{"name": "weather", "arguments": "{\\"city\\": \\"Tønder\\"}"}'
    turns = [
        ChatTurn("user", "Which weather?"),
        ChatTurn("assistant", said),
        ChatTurn("user", "rain"),
        ChatTurn("assistant", ""),
        ChatTurn("assistant", f"One moment.\n{said}\n{said}"),
        ChatTurn("user", "rain"),
    ]
    expected = engine.prompt(turns).ids
    assert reply.json["usage"]["prompt_tokens"] == len(expected)
    prompts = [each[0] for verb, each in engine.calls if verb == "generate"]
    assert prompts[0].ids == expected


@pytest.mark.parametrize("text", ["<end>", "messages"])
def test_typed_control_tokens_and_names_of_fields_are_text(
    served: Served, text: str
) -> None:
    reply = served.ask("/tokenize", {"prompt": text, "return_token_strs": True})
    assert reply.json == {
        "count": len(text),
        "max_model_len": FakeWriter().info.context,
        "tokens": list(text.encode()),
        "token_strs": list(text),
    }


def test_bos_is_added_to_a_text_unless_refused() -> None:
    with serving(engine := FakeWriter(adds_bos=True)) as served:
        bos = engine.encode("a").prefix
        with_bos = served.ask("/tokenize", {"prompt": "a"}).json["tokens"]
        alone = {"prompt": "a", "add_special_tokens": False}
        assert with_bos == [*bos, 97]
        assert served.ask("/tokenize", alone).json["tokens"] == [97]
        usage = served.complete(prompt="a").json["usage"]
        assert usage["prompt_tokens"] == 2
        assert served.complete(prompt=[97]).json["usage"]["prompt_tokens"] == 1


def test_model_and_tokenizer_are_described() -> None:
    with serving(FakeWriter(name="tiny")) as served:
        (model,) = served.ask("/v1/models").json["data"]
        about = served.ask("/tokenizer_info").json
        assert served.ask("/v1/completions").status == 405
        assert served.ask("/v2").status == 404
        assert served.ask("/v1/models/tiny").json == model
        lost = served.ask("/v1/models/" + "x" * 10_000)
        assert lost.status == 404
        assert len(lost.data) < 500
    assert model["id"] == "tiny"
    assert about["eos_token"] == "<end>"
