"""A model that is only talked with says the same, with the same numbers."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from lmtui.cancellation import cancelled_when
from lmtui.chat.conversation import Conversation
from lmtui.cli.output import encode, score_fields
from lmtui.engine.engine import LocalEngine
from lmtui.engine.open import open_served
from lmtui.engine.protocol import Engine
from lmtui.engine.rows import RowRequest
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text_only import ChatPrompt, TextOnlyEngine, pieces_of
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.models.remote.address import ServerOptions
from lmtui.models.remote.connection import Connection
from lmtui.models.remote.openai import ChatPart, ChatToken, OpenAiModel
from lmtui.partial import EntropyRange, RankAbove
from tests.engine import tiny
from tests.models.remote.scripted import connected, scripted
from tests.models.remote.test_openai import END, EVENT, choice, stream
from tests.serve.serving import serving

USAGE = {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 7}}
TURNS = [ChatTurn("user", "Hi, naïve façade 日本")]
GREEDY = SamplingSettings(temperature=0, max_tokens=12, seed=3)
OPENAI = ServerOptions(dialect="openai")
Both = tuple[LocalEngine, TextOnlyEngine]


@pytest.fixture(scope="module")
def both() -> Iterator[Both]:
    """A tiny model, and the same one behind a server that it is only talked with."""
    with serving(tiny.engine()) as served:
        there = open_served(f"http://127.0.0.1:{served.port}/v1", OPENAI)
        assert isinstance(there, TextOnlyEngine)
        yield tiny.engine(), there


def answered(
    engine: Engine, settings: SamplingSettings = GREEDY, **how: Any
) -> tuple[list[Step], GenerationResult]:
    *steps, end = engine.generate(engine.prompt(TURNS), settings, **how)
    assert isinstance(end, GenerationResult)
    return [step for step in steps if isinstance(step, Step)], end


def said(steps: list[Step], end: GenerationResult) -> str:
    return "".join(step.piece for step in steps) + end.piece


def test_chat_has_the_same_text_and_numbers(both: Both) -> None:
    here, there = both
    assert there.info.context == here.info.context
    assert there.info.label.startswith("http://127.0.0.1:")
    expected, found = answered(here), answered(there)
    assert said(*found) == said(*expected)
    assert found[1].reason is expected[1].reason
    assert found[1].logprob == pytest.approx(expected[1].logprob, abs=1e-4)
    assert found[1].prompt_tokens == expected[1].prompt_tokens
    for one, other in zip(found[0], expected[0], strict=True):
        assert (one.bytes, one.rank) == (other.bytes, other.rank)
        assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert one.sampled_prob is None and not one.distribution.is_certain
        rows = one.distribution.candidates, other.distribution.candidates
        assert [r.bytes for r in rows[0]] == [r.bytes for r in rows[1]]
        assert [r.id for r in rows[0]].count(one.id) == 1
        assert isinstance(one.entropy, EntropyRange) and other.entropy is not None
        assert one.entropy.least <= other.entropy + 1e-6
        assert one.entropy.most == math.inf


def test_rows_are_as_the_server_lists_them_whatever_the_settings_are(
    both: Both,
) -> None:
    _, there = both
    for step in answered(there)[0]:
        for settings in (GREEDY, replace(GREEDY, temperature=1.5, top_k=3)):
            found = there.preview(step.distribution.handle, settings)
            assert found == step.distribution
            assert {row.sampled_prob for row in found.candidates} == {None}


def test_setting_that_the_server_has_not_is_refused(both: Both) -> None:
    here, there = both
    penalty = replace(GREEDY, presence_penalty=1.5, frequency_penalty=0.5)
    assert said(*answered(there, penalty)) == said(*answered(here, penalty))
    for name in ("typical_p", "xtc_probability", "dry_multiplier"):
        with pytest.raises(LmtuiError, match=name.replace("_", "-")):
            answered(there, replace(GREEDY, **{name: 0.5}))  # type: ignore[arg-type]
    with pytest.raises(LmtuiError, match="logit-bias can't be applied"):
        answered(there, replace(GREEDY, logit_bias=("a=1",)))
    with pytest.raises(LmtuiError, match="a grammar can't be applied here"):
        answered(there, replace(GREEDY, grammar="/a/"))


def test_pages_and_search_end_with_what_is_listed(both: Both) -> None:
    _, there = both
    step = answered(there)[0][0]
    handle, rows = step.distribution.handle, step.distribution.candidates
    assert step.distribution.top_logprobs == step.distribution.vocabulary == 20
    page = there.preview(handle, GREEDY, start=15, count=20)
    assert page.candidates == rows[15:]
    others = sum(row.prob for row in page.candidates)
    assert page.rest_prob == pytest.approx(1 - others)
    found = there.search_vocabulary(handle, rows[3].text, GREEDY)
    assert rows[3].id in {row.candidate.id for row in found.rows}
    with pytest.raises(KeyError):
        there.preview(-5, GREEDY)


def test_stop_ends_the_answer_with_its_text(both: Both) -> None:
    _, there = both
    polls = iter([False] * 3)
    with cancelled_when(lambda: next(polls, True)):
        steps, end = answered(there)
    assert end.reason is FinishReason.CANCELLED and end.tokens == len(steps)


def test_everything_else_says_why_not(both: Both) -> None:
    here, there = both
    verbs = {
        name
        for name, _ in inspect.getmembers(Engine, inspect.isfunction)
        if not name.startswith("_")
    }
    own = {"close", "prompt", "generate", "preview", "search_vocabulary"}
    own.add("generate_rows")
    for name in verbs - own:
        with pytest.raises(LmtuiError, match="a text can't be used here"):
            getattr(there, name)([1], 2, x=3)
    with pytest.raises(LmtuiError, match="a text can't be used here"):
        there.prompt(TURNS, prefill="So")
    with pytest.raises(LmtuiError, match="a text can't be used here"):
        there.generate(here.prompt(TURNS), GREEDY)
    with pytest.raises(LmtuiError, match="only takes part in chats") as caught:
        there.encode("x")
    assert "leave the dialect openai out" in caught.value.hint
    assert not there.capabilities.edits and there.capabilities.why_not


def test_closed_engine_has_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    close = Connection.close

    def note(connection: Connection) -> None:
        closed.append(connection)
        close(connection)

    monkeypatch.setattr(Connection, "close", note)
    with serving(tiny.engine("llama")) as served:
        address = f"http://127.0.0.1:{served.port}/v1"
        for options in (OPENAI, ServerOptions()):
            closed.clear()
            engine = open_served(address, options)
            assert not closed
            engine.close()
            engine.close()
            assert len(closed) == 2


def test_json_has_no_infinity(both: Both) -> None:
    _, there = both
    fields = json.loads(encode(score_fields(answered(there)[0][0])))
    assert fields["entropy"] is None and fields["entropy_range"][1] is None


# What other servers do.


def over(*events: Any, rows: int = 2, most: int = 8) -> list[Any]:
    """Items of an answer that a scripted server sends."""
    with scripted([stream(*events)]) as served, connected(served) as connection:
        engine = TextOnlyEngine(OpenAiModel(connection, "m", rows))
        settings = replace(GREEDY, max_tokens=most)
        return list(engine.generate(engine.prompt(TURNS), settings))


def test_text_without_numbers_is_an_answer_all_the_same() -> None:
    first, second, end = over(choice(None, "Yes, "), choice(None, "so"), END, rows=0)
    assert first.piece + second.piece == "Yes, so"
    assert first.logprob is first.prob is first.rank is None
    assert end.logprob is end.perplexity is None
    assert end.tokens == 0 and end.tokens_per_second is None  # events are no tokens
    *_, told = over(choice(None, "Yes, "), choice(None, "so"), END, USAGE, rows=0)
    assert told.tokens == 7
    conversation = Conversation()
    asked = conversation.say("Hi")
    reply = conversation.reply(asked.id, model="m", settings=GREEDY)
    conversation.lay_out(reply.id, ChatPrompt((), "Hi"))
    conversation.grow(reply.id, [first, second])
    whole = conversation.finish(reply.id, end)
    assert whole.content == "Yes, so" and whole.logprob is None
    assert whole.own_ids == () and whole.continuation is None


def test_server_that_does_not_end_is_left() -> None:
    *steps, end = over(*[EVENT] * 9, END, most=3)
    assert (len(steps), end.reason) == (3, FinishReason.LENGTH)


def test_answer_that_the_server_cuts_is_an_error() -> None:
    cut = {"choices": [{"delta": {}, "finish_reason": "content_filter"}]}
    with pytest.raises(LmtuiError, match="content_filter"):
        over(EVENT, cut)


def test_token_without_numbers_is_a_token_all_the_same() -> None:
    bare = {**EVENT["choices"][0]["logprobs"]["content"][0], "logprob": None}  # type: ignore[index]
    first, second, end = over(EVENT, choice({"content": [bare]}), END)
    assert (first.logprob, second.logprob, second.rank) == (-0.5, None, None)
    assert second.piece == " the" and end.tokens == 2 and end.logprob is None


def test_short_row_may_lack_any_token() -> None:
    step, _ = over(EVENT, END, rows=3)
    assert not step.distribution.is_certain and step.sampled_prob is None
    least = -sum(p * math.log(p) for p in (math.exp(-0.5), math.exp(-1.2)))
    assert step.entropy == (pytest.approx(least), math.inf)


def test_last_token_of_a_character_is_found_by_its_number() -> None:
    # llama-server: one entry for a character, with the numbers of its last token.
    listed = [
        {"token": "�", "logprob": -0.7, "bytes": [138]},
        {"token": "�", "logprob": -1.5, "bytes": [147]},
    ]
    whole = {"token": "お", "logprob": -0.7, "bytes": [227, 129, 138]}
    entry = {**whole, "top_logprobs": listed}
    step, _ = over(choice({"content": [entry]}, "お"), END)
    assert (step.piece, step.rank) == ("お", 1)
    assert step.id == step.distribution.candidates[0].id


def test_another_token_with_the_same_number_is_not_taken() -> None:
    listed = [{"token": n, "logprob": -1.2, "bytes": None} for n in (" a", " b")]
    entry = {"token": " c", "logprob": -1.2, "bytes": None, "top_logprobs": listed}
    step, _ = over(choice({"content": [entry]}, " c"), END)
    assert step.rank == 1  # none is more probable
    assert step.id not in [row.id for row in step.distribution.candidates]


def test_token_that_is_not_listed_is_not_one_that_looks_the_same() -> None:
    listed = [{"token": "�", "logprob": value, "bytes": None} for value in (-1, -1.2)]
    entry = {**listed[0], "logprob": -2.5, "top_logprobs": listed}
    step, _ = over(choice({"content": [entry]}, "�"), END)
    assert step.rank == RankAbove(2)
    assert step.id not in [row.id for row in step.distribution.candidates]


def test_texts_that_look_the_same_are_not_one_token() -> None:
    listed = [{"token": "�", "logprob": value, "bytes": None} for value in (-0.7, -1.5)]
    entry = {**listed[1], "top_logprobs": listed}
    step, _ = over(choice({"content": [entry]}, "�"), END)
    first, second = step.distribution.candidates
    assert first.id != second.id == step.id and step.rank == 2


def test_text_of_the_server_counts() -> None:
    tokens = (ChatToken(b"\xe3\x81", -1.0), ChatToken(b"\x8a", -1.0))
    assert [p for _, p in pieces_of(ChatPart("お", tokens))] == ["", "お"]
    assert [p for _, p in pieces_of(ChatPart("x", tokens))] == ["", "x"]
    assert pieces_of(ChatPart("", tokens[:1])) == [(tokens[0], "")]
    assert pieces_of(ChatPart("")) == []


def test_versions_are_drawn_one_after_the_other(both: Both) -> None:
    _, there = both
    assert not there.capabilities.batches
    asked = [replace(GREEDY, temperature=1.0, seed=seed) for seed in (5, 6)]
    rows = list(map(RowRequest, asked))
    items = list(there.generate_rows(there.prompt(TURNS), rows))
    assert [row for row, _ in items] == sorted(row for row, _ in items)
    for version, settings in enumerate(asked):
        steps, _ = answered(there, settings)
        mine = [item for row, item in items if row == version]
        assert [s.bytes for s in mine[:-1]] == [s.bytes for s in steps]  # type: ignore[union-attr]
