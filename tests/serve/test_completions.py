"""`/v1/completions`: shapes, and the numbers in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fake_writing import FakeWriter
from tests.fakes import END
from tests.serve.serving import WAIT, Served, serving

ANSWER = " on the mat."


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    engine = FakeWriter([ANSWER] * 1000, likelihood=0.9)
    with serving(engine) as found:
        yield found


def only(reply: Any) -> Any:
    (choice,) = reply.json["choices"]
    return choice


def test_text_is_completed(served: Served) -> None:
    reply = served.complete(prompt="the cat sat")
    assert reply.status == 200
    assert only(reply) == {
        "index": 0, "text": ANSWER, "logprobs": None, "finish_reason": "stop",
    }  # fmt: skip
    body = reply.json
    assert body["object"] == "text_completion"
    assert body["id"].startswith("cmpl-")
    usage = body["usage"]
    assert usage["prompt_tokens"] == len("the cat sat")
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_answer_ends_at_max_tokens_and_before_a_stop_text(served: Served) -> None:
    assert only(served.complete(prompt="a", max_tokens=2))["finish_reason"] == "length"
    stopped = only(served.complete(prompt="a", stop=["the"]))
    assert (stopped["text"], stopped["finish_reason"]) == (" on ", "stop")


def test_answer_longer_than_the_context_is_refused(served: Served) -> None:
    context = served.ask("/v1/models").json["data"][0]["max_model_len"]
    assert served.complete(prompt="a", max_tokens=context).status == 200
    for reply in (
        served.complete(prompt="a", max_tokens=context + 1),
        served.chat(max_completion_tokens=10**12),
    ):
        assert reply.status == 400
        assert "too many tokens of an answer" in reply.message


def test_echo_with_logprobs_scores_the_prompt() -> None:
    prompt = "the cat"
    engine = FakeWriter(likelihood=0.9)
    ids = engine.encode(prompt).ids
    expected = [token.logprob for token in engine.score(ids)]
    with serving(engine) as served:
        reply = served.complete(prompt=prompt, echo=True, logprobs=3, max_tokens=0)
    choice = only(reply)
    assert (choice["text"], choice["finish_reason"]) == (prompt, "length")
    found = choice["logprobs"]
    assert found["token_logprobs"] == expected
    assert found["token_logprobs"][0] is found["top_logprobs"][0] is None
    assert found["tokens"] == list(prompt)
    assert found["text_offset"] == list(range(len(prompt)))
    for own, token, row in zip(
        expected[1:], found["tokens"][1:], found["top_logprobs"][1:], strict=True
    ):
        assert row[token] == own
        assert len(row) in (3, 4)
        assert all(math.isfinite(logprob) and logprob <= 0 for logprob in row.values())
    assert reply.json["usage"]["completion_tokens"] == 0


def test_prompt_logprobs_are_keyed_by_id_with_ranks() -> None:
    engine = FakeWriter()
    ids = list(engine.encode("abc").ids)
    scored = list(engine.score(ids, top_n=2))
    with serving(engine) as served:
        choice = only(served.complete(prompt=ids, prompt_logprobs=2, max_tokens=1))
    first, *rows = choice["prompt_logprobs"]
    assert first is None
    for token, row in zip(scored[1:], rows, strict=True):
        own = row[str(token.id)]
        assert (own["logprob"], own["rank"]) == (token.logprob, token.rank)
        assert own["decoded_token"] == token.bytes.decode()
        assert {str(each.id) for each in token.top} <= set(row)


def test_echo_and_prompt_logprobs_list_as_many_as_asked_for() -> None:
    with serving(FakeWriter()) as served:
        choice = only(
            served.complete(
                prompt="ab", echo=True, logprobs=4, prompt_logprobs=1, max_tokens=0
            )
        )
    assert len(choice["logprobs"]["top_logprobs"][1]) in (4, 5)
    assert len(choice["prompt_logprobs"][1]) in (1, 2)


def test_batch_of_ids_is_answered_in_order() -> None:
    engine = FakeWriter(["one", "two", "three", "four"])
    with serving(engine) as served:
        reply = served.complete(prompt=[[65, 66], [67]], n=2, return_token_ids=True)
    choices = reply.json["choices"]
    assert [c["index"] for c in choices] == [0, 1, 2, 3]
    assert [c["text"] for c in choices] == ["one", "two", "three", "four"]
    assert [c["prompt_token_ids"] for c in choices] == [[65, 66]] * 2 + [[67]] * 2
    assert choices[0]["token_ids"][-1] == END


def test_each_of_several_answers_has_a_seed_that_can_be_used() -> None:
    engine = FakeWriter(["one", "two"])
    with serving(engine) as served:
        reply = served.complete(prompt="a", n=2, seed=2**63 - 1, temperature=1)
    assert reply.status == 200
    given = [given[1].seed for verb, given in engine.calls if verb == "generate"]
    assert given == [2**63 - 1, 0]


def test_tokens_can_be_written_as_ids(served: Served) -> None:
    reply = served.complete(
        prompt="a", logprobs=1, max_tokens=1, return_tokens_as_token_ids=True
    )
    found = only(reply)["logprobs"]
    assert found["tokens"][0].startswith("token_id:")
    assert found["tokens"][0] in found["top_logprobs"][0]


def test_bytes_that_are_no_text_are_written_as_bytes() -> None:
    with serving(FakeWriter(["é"])) as served:
        found = only(served.complete(prompt=[195], echo=True, logprobs=0, max_tokens=0))
        assert found["logprobs"]["tokens"] == ["bytes:\\xc3"]
        whole = served.ask("/detokenize", {"tokens": [195, 169]})
    assert whole.json == {"prompt": "é"}


@settings(max_examples=10)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_streamed_parts_join_to_the_whole_answer(text: str) -> None:
    asked: dict[str, object] = {
        "prompt": text, "echo": True, "logprobs": 2, "max_tokens": 99,
    }  # fmt: skip
    with serving(FakeWriter([text, text])) as served:
        whole = served.complete(**asked)
        parts = served.complete(
            **asked, stream=True, stream_options={"include_usage": True}
        )
    *events, last = parts.events
    choices = [event["choices"][0] for event in events]
    expected = only(whole)
    assert "".join(choice["text"] for choice in choices) == expected["text"]
    assert choices[-1]["finish_reason"] == expected["finish_reason"] == "stop"
    for name, values in expected["logprobs"].items():
        joined = [
            value
            for choice in choices
            if choice["logprobs"]
            for value in choice["logprobs"][name]
        ]
        assert joined == values
    assert (last["choices"], last["usage"]) == ([], whole.json["usage"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "prompt"),
        ({"prompt": []}, "prompt is empty"),
        ({"prompt": ""}, "a prompt is empty"),
        ({"prompt": [[]]}, "a prompt is empty"),
        ({"prompt": 5}, "prompt can't be used"),
        ({"prompt": [-1]}, "prompt can't be used"),
        ({"prompt": [10**6]}, "no token with this id: 1,000,000"),
        ({"prompt": "a", "colour": 1}, "colour is not a field of this request"),
        ({"prompt": "a", "suffix": "b"}, "suffix is not supported"),
        ({"prompt": "a", "frequency_penalty": 200}, "frequency-penalty is out of"),
        ({"prompt": "a", "temperature": -1}, "temperature is out of range"),
        ({"prompt": "a", "temperature": "hot"}, "temperature can't be used"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens can't be used"),
        ({"prompt": "a", "logprobs": 10**6}, "logprobs is out of range"),
        ({"prompt": "a", "logit_bias": {"x": 1}}, "a key that is no id"),
        ({"prompt": "a", "logit_bias": {"99999": 1}}, "no token with this id"),
        ({"prompt": "a", "logit_bias": {"9" * 5000: 1}}, "a key that is no id: 999"),
        ({"prompt": "a" * (2**20 + 1)}, "too many characters for one request"),
        ({"prompt": [[1] * 2**18, [1]]}, "too many tokens for one request"),
        ({"prompt": "a", "logit_bias": {"1": 1e9}}, "logit_bias can't be used"),
        ({"prompt": "a", "stop": [""]}, "a stop text is empty"),
        ({"prompt": "a", "stop": ["x"] * 17}, "too many stop texts"),
        ({"prompt": "a", "stream": True, "prompt_logprobs": 1}, "can't be streamed"),
        ({"prompt": "a" * 4096}, "4,096 tokens, with room for 4,095"),
        ({"prompt": "a", "model": "gpt-4"}, "this model is not served: gpt-4"),
        ({"prompt": ["a"] * 1025}, "too many answers"),
    ],
)
def test_what_is_wrong_or_not_supported_is_refused(
    served: Served, body: dict[str, object], words: str
) -> None:
    reply = served.complete(**body)
    assert reply.status == (404 if body.get("model") else 400)
    assert words in reply.message
    error = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[1]",
        b'{"prompt":',
        b"\xff",
        b"[" * 9999,
        b'{"prompt": "a", "presence_penalty": -Infinity}',
        b'{"prompt": "a", "metadata": {"x": NaN}}',
        b'{"prompt": "a", "temperature": 1e999}',
    ],
)
def test_body_that_is_no_json_object_is_refused(served: Served, data: bytes) -> None:
    assert served.ask("/v1/completions", data or b" ").status == 400


def test_words_for_no_number_may_stand_in_a_text(served: Served) -> None:
    assert served.complete(prompt="NaN and -Infinity").status == 200


def test_prompt_that_just_fits_is_scored_but_not_continued() -> None:
    engine = FakeWriter(context=8)
    with serving(engine) as served:
        scored = served.complete(prompt="a" * 8, echo=True, logprobs=0, max_tokens=0)
        assert scored.status == 200
        long = served.complete(prompt="a" * 8, max_tokens=1)
    # Clients of OpenAI's API look for this code to shorten a prompt.
    assert (long.status, long.json["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("stream", [False, True])
def test_bug_is_told_without_the_paths_of_this_machine(stream: bool) -> None:
    engine = FakeWriter(error=ZeroDivisionError("/home/me"))
    with serving(engine) as served:
        reply = served.complete(prompt="a", stream=stream)
    assert reply.status == 500
    assert b"This is a bug in lmtui; see its log." in reply.data
    assert b"/home/me" not in reply.data


def test_machine_that_starts_no_more_threads_can_be_asked_again() -> None:
    with serving(FakeWriter(error=RuntimeError("can't start new thread"))) as served:
        reply = served.complete(prompt="a")
    assert (reply.status, reply.headers.get("retry-after")) == (503, "1")
    assert "no thread or process can be started" in reply.message


def test_client_that_leaves_stops_its_answer() -> None:
    reached, left = Event(), Event()

    def hold(index: int) -> None:
        if index == 2:
            reached.set()
            assert left.wait(WAIT)

    engine = FakeWriter(["a b c d e f g h", "next"], on_token=hold)
    with serving(engine) as served:
        with served.socket() as bare:
            body = b'{"prompt": "x", "max_tokens": 90}'
            bare.sendall(
                b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\n"
                b"content-length: %d\r\n\r\n%s" % (len(body), body)
            )
            assert reached.wait(WAIT)
        # The event loop learns of it before it answers this.
        assert served.ask("/health").status == 200
        left.set()
        assert only(served.complete(prompt="y"))["text"] == "next"
        lines = [served.line() for _ in range(3)]
    assert sum("POST /v1/completions client left" in line for line in lines) == 1


def test_signal_ends_answers_with_what_they_have() -> None:
    reached, go_on = Event(), Event()

    def hold(index: int) -> None:
        if index == 2:
            reached.set()
            assert go_on.wait(WAIT)

    engine = FakeWriter([["a", "b", "c", "d", "e"]], on_token=hold)
    with serving(engine) as served, ThreadPoolExecutor() as pool:
        first = pool.submit(lambda: served.complete(prompt="x", stream=True))
        assert reached.wait(WAIT)
        others = [pool.submit(lambda: served.complete(prompt="x")) for _ in range(2)]
        served.end()
        go_on.set()
        *said, last = first.result(WAIT).events
        assert "".join(event["choices"][0]["text"] for event in said) == "ab"
        assert last["choices"][0]["finish_reason"] == "abort"
        assert [other.result(WAIT).status for other in others] == [503, 503]
        late = served.complete(prompt="x")
        assert (late.status, late.headers["retry-after"]) == (503, "1")
        assert "the server is ending" in late.message


@pytest.mark.parametrize("index", [0, 4])
def test_signal_while_prompts_are_scored_gives_no_short_lists(index: int) -> None:
    """lm_eval would take what is missing for a likelihood of 1."""
    reached, go_on = Event(), Event()

    def hold(at: int) -> None:
        if at == index and not reached.is_set():
            reached.set()
            assert go_on.wait(WAIT)

    engine = FakeWriter(on_token=hold)
    asked = {"prompt": ["abcde", "fghij"], "echo": True, "logprobs": 1, "max_tokens": 1}
    with serving(engine) as served, ThreadPoolExecutor() as pool:
        reply = pool.submit(lambda: served.complete(**asked))
        assert reached.wait(WAIT)
        served.end()
        go_on.set()
        assert reply.result(WAIT).status == 503


def test_each_request_has_a_line_in_the_log() -> None:
    with serving(FakeWriter(["Yes."])) as served:
        served.complete(prompt="the cat sat")
        line = served.line()
        assert line.startswith("POST /v1/completions 200 · 11 in, ")
        assert line.endswith(" s")
        served.ask("/nowhere%1b[31m")
        line = served.line()
        assert line.startswith("GET /nowhere")
        assert "404" in line and "\x1b" not in line
