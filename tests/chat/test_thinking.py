"""What a reply thought: where, how many tokens, how long, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.chat.conversation import Conversation
from lmtui.chat.message import ChatMessage
from lmtui.chat.store import Store
from lmtui.chat.summary import ConversationMeta
from lmtui.chat.thinking import (
    ReasoningInfo,
    ReasoningTracker,
    answer_of,
    thought_of,
)
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    Prompt,
)
from tests.chat.test_message import EMPTY, answer

TOKENS = ("<think>", "\n", "so", " so", "\n", "</think>", "\n\n", "It", " is.")


def reply(*tokens: str, most: int = 1024, prompt: Prompt | None = None) -> ChatMessage:
    """A reply of these tokens, and the end token where they are not too many."""
    begin, steps, finish = answer(*tokens, most=most, prompt=prompt)
    return replace(EMPTY, prompt=begin).grown(steps).finished(finish)


def known(node: ChatMessage) -> ReasoningInfo:
    thought = thought_of(node)
    assert thought is not None
    return thought


def test_thinking_and_answer_tokens_are_counted_apart() -> None:
    node = reply(*TOKENS)
    thought = known(node)
    assert thought.tokens == 7  # with the marks and the empty line behind
    assert answer_of(node) == "It is."
    assert node.finish is not None
    share = node.finish.seconds * 7 / 10  # of ten, the end token is one
    assert thought.seconds == pytest.approx(share)
    assert thought.words == f"thought 7 tokens, ≈ {share:,.1f} s"


@given(count=st.integers(0, len(TOKENS)))
def test_growing_reply_counts_thinking_tokens_up_to_the_end_mark(count: int) -> None:
    node = reply(*TOKENS)
    grown = replace(EMPTY, prompt=node.prompt).grown(node.steps[:count])
    thought = thought_of(grown)
    if count == 0:
        assert thought is None
        return
    assert known(grown).tokens == min(count, 7)
    assert known(grown).grows == (count < 6)
    if count < 6:
        plural = "" if count == 1 else "s"
        assert known(grown).words == f"thinking … {count} token{plural}"


@given(
    tokens=st.lists(st.sampled_from([*TOKENS, "[THINK]", "[/THINK]"]), max_size=12),
    halves=st.sets(st.integers(0, 12)),
    opened=st.booleans(),
    size=st.integers(1, 3),
)
def test_tracked_reasoning_equals_that_of_the_whole_reply(
    tokens: list[str], halves: set[int], opened: bool, size: int
) -> None:
    text = "user: why?\n" + ("<think>\n" if opened else "")
    node = reply(*tokens, prompt=Prompt((1, 2), text))
    grown = replace(EMPTY, prompt=node.prompt, state="growing")
    tracker = ReasoningTracker(grown)
    # A token that ends within a character adds no text.
    made = [replace(s, piece="") if s.index in halves else s for s in node.steps]
    for at in range(0, len(made), size):
        steps = made[at : at + size]
        grown = grown.grown(steps)
        assert tracker.grow(grown, steps) == thought_of(grown)


def test_stored_reply_has_the_same_thinking_counts(tmp_path: Path) -> None:
    chat = Conversation()
    asked = chat.say("?")
    node = chat.reply(asked.id, model="m", settings=SamplingSettings())
    prompt, steps, finish = answer(*TOKENS)
    chat.lay_out(node.id, prompt)
    chat.grow(node.id, steps)
    whole = chat.finish(node.id, finish)
    store = Store(tmp_path / "chats.db")
    loaded = store.load(store.add("a", chat, ConversationMeta("t")))
    kept = loaded.conversation.path[-1]
    assert kept.packed is not None
    assert known(kept).tokens == known(whole).tokens == 7
    assert known(kept) == known(kept.opened())
    assert (loaded.about.preview, kept.content) == ("It is.", "".join(TOKENS))
    store.close()


def test_thinking_begun_in_the_prompt_is_recognised() -> None:
    begun = Prompt((1, 2), "user: ?\nassistant: <think>\n")
    node = reply("so", " so", "\n", "</think>", "\n\n", "It", prompt=begun)
    assert (known(node).tokens, answer_of(node)) == (5, "It")
    stopped = reply("so", " so", "\n", most=2, prompt=begun)
    assert known(stopped).words.startswith("thought 2 tokens, ")
    assert known(stopped).words.endswith(", not to its end")
    assert answer_of(stopped) == ""
    # What of it was given by hand is at the end of the prompt too.
    given = replace(stopped, content=f"Well{stopped.content}")
    text = Prompt(begun.ids, f"{begun.text}Well")
    assert known(replace(given, prompt=text)).tokens == 2
    plain = Prompt((1, 2), "user: ?\nassistant: ")
    assert thought_of(reply("so", " so", most=2, prompt=plain)) is None
    # One that ended by itself without the mark has answered.
    assert thought_of(reply("so", " so", prompt=begun)) is None


def test_user_message_never_has_thinking() -> None:
    text = "<think>a</think>b"
    assert thought_of(ChatMessage(1, 0, "user", text)) is None
    assert answer_of(ChatMessage(1, 0, "user", text)) == text


def test_thinking_without_tokens_or_finish_has_no_figures() -> None:
    node = ChatMessage(2, 1, "assistant", "<think>a</think>b")
    assert (known(node).tokens, known(node).words) == (0, "thought")
    growing = replace(reply(*TOKENS), finish=None, state="stopped")
    assert known(growing).seconds is None


def test_resumed_reply_has_no_thinking_time() -> None:
    first = reply(*TOKENS, most=8)
    _, steps, finish = answer(" more")
    node = first.resumed().grown(steps).finished(finish)
    assert (known(node).tokens, known(node).seconds) == (7, None)
    assert first.finish is not None and first.finish.reason is FinishReason.LENGTH
