"""A reply as it grows, ends and goes on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lmtui.chat.message import ChatMessage, taken_back
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
    TakenBack,
)
from tests.fakes import END, FakeEngine

HELLO = (ChatTurn("user", "hello"),)
EMPTY = ChatMessage(id=2, parent=1, role="assistant", content="", state="growing")


def answer(
    *tokens: str | bytes, prompt: Prompt | None = None, most: int = 1024
) -> tuple[Prompt, list[Step], GenerationResult]:
    """What an engine does: its prompt, its steps, how it ends."""
    engine = FakeEngine([list(tokens)])
    begin = prompt or engine.prompt(HELLO)
    settings = SamplingSettings(max_tokens=most)
    *steps, finish = engine.generate(begin, settings)
    assert isinstance(finish, GenerationResult)
    return begin, [step for step in steps if isinstance(step, Step)], finish


def test_grown_reply_keeps_its_steps_ids_and_logprob() -> None:
    _, steps, finish = answer("a", " b", " c")
    node = EMPTY.grown(steps[:1]).grown(steps[1:]).finished(finish)
    assert node.content == "a b c"
    assert node.steps == tuple(steps)
    assert node.ids == tuple(step.id for step in steps)
    assert node.logprob == pytest.approx(finish.logprob)
    assert (node.state, node.finish) == ("whole", finish)
    assert EMPTY.content == "" and EMPTY.logprob is None


def test_cancelled_reply_keeps_its_text_and_is_stopped() -> None:
    _, steps, finish = answer("a", " b", " c")
    ended = replace(finish, reason=FinishReason.CANCELLED)
    node = EMPTY.grown(steps[:2]).finished(ended)
    assert (node.content, node.state) == ("a b", "stopped")


def test_text_held_back_until_the_end_belongs_to_the_last_token() -> None:
    _, steps, finish = answer("a", "\n")
    held = [steps[0], replace(steps[1], piece="")]
    ended = replace(finish, reason=FinishReason.CANCELLED, piece="\n")
    node = EMPTY.grown(held).finished(ended)
    assert node.content == "a\n" == "".join(step.piece for step in node.steps)
    assert node.resumed().steps == node.steps


def test_resumed_reply_drops_the_end_token_and_continues_indices() -> None:
    prompt, steps, finish = answer("a", " b")
    node = replace(EMPTY.grown(steps).finished(finish), prompt=prompt)
    assert node.ids[-1] == END
    onward = node.continuation
    assert onward is not None
    assert onward.ids == (*prompt.ids, *node.ids[:-1])
    assert onward.text == prompt.text + "a b"

    _, more, end = answer(" c", prompt=onward)
    whole = node.resumed().grown(more).finished(end)
    assert whole.content == "a b c"
    assert [step.index for step in whole.steps] == list(range(4))
    assert whole.prompt == prompt
    assert whole.logprob == pytest.approx(
        math.fsum(step.logprob for step in [*steps[:-1], *more])
    )


def test_resumed_reply_drops_tokens_of_an_unfinished_character() -> None:
    prompt, steps, finish = answer("a", b"\xe3", b"\x81", most=3)
    node = replace(EMPTY.grown(steps).finished(finish), prompt=prompt)
    assert node.content == "a"
    onward = node.continuation
    assert onward is not None
    assert onward.ids == (*prompt.ids, steps[0].id)
    assert node.resumed().ids == (steps[0].id,)


def test_a_prefill_is_text_without_tokens() -> None:
    engine = FakeEngine([[" b"]])
    prompt = engine.prompt(HELLO, prefill="a")
    _, steps, finish = answer(" b", prompt=prompt)
    begun = replace(EMPTY, content="a", prompt=prompt)
    node = begun.grown(steps).finished(finish)
    assert node.content == "a b"
    onward = node.continuation
    assert onward is not None and onward.text == prompt.text + " b"


def test_reply_without_a_prompt_has_no_continuation() -> None:
    assert EMPTY.continuation is None


def test_a_continuation_knows_the_beginning_of_its_answer() -> None:
    prompt, steps, finish = answer("one", " two")
    reply = ChatMessage(2, 1, "assistant", "It is ", prompt=prompt, given=1)
    grown = reply.grown(steps).finished(finish)
    following = grown.continuation
    assert following is not None and following.begun == grown.content == "It is one two"
    more = replace(grown, rest=" or", content=grown.content + " or").continuation
    assert more is not None and more.begun == "It is one two"


def test_what_was_taken_back_makes_versions_of_a_reply() -> None:
    prompt, steps, finish = answer("one", " two", " three")
    taken = (
        TakenBack(1, (replace(steps[1], piece=" 2"),), " 2"),
        TakenBack(2, (replace(steps[2], piece=" 3"),), " 3"),
    )
    begun = ChatMessage(2, 1, "assistant", "So: ", prompt=prompt, given=1)
    grown = begun.grown(steps).finished(replace(finish, taken_back=taken))
    assert grown.finish is not None and grown.finish.taken_back == ()
    versions = taken_back(grown, replace(finish, taken_back=taken))
    assert [each.content for each in versions] == ["So: one 2", "So: one two 3"]
    for version in versions:
        assert [step.index for step in version.steps] == [*range(len(version.steps))]
        assert version.state == "stopped" and version.finish is None
