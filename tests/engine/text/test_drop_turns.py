"""Leaving out the oldest turns of a conversation that does not fit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.text.detokenizer import Vocabulary
from lmtui.engine.text.drop_turns import dropped, fitted, prompt_of
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.types import ChatTurn, Prompt
from tests.engine import tiny
from tests.engine.document.test_tokenized import marked_words
from tests.fakes import FakeEngine

WORDS = st.text("ab", max_size=30)
TURNS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=12)
CONTEXTS = st.integers(40, 400)
ANSWERS = st.integers(1, 100)


def conversation(turns: list[tuple[str, str]], system: bool) -> list[ChatTurn]:
    said = [ChatTurn("system", "be brief")] if system else []
    for asked, answered in turns:
        said += [ChatTurn("user", asked), ChatTurn("assistant", answered)]
    return said[:-1]


def kept(messages: list[ChatTurn], system: bool, left_out: int) -> list[ChatTurn]:
    first = int(system)
    return [*messages[:first], *messages[first + left_out :]]


@given(TURNS, st.booleans(), CONTEXTS, ANSWERS)
def test_fitted_leaves_out_whole_turns_until_the_prompt_fits(
    turns: list[tuple[str, str]], system: bool, context: int, answer: int
) -> None:
    engine = FakeEngine(context=context)
    messages = conversation(turns, system)
    prompt, left_out = fitted(engine, messages, answer=answer)
    rest = kept(messages, system, left_out)
    assert prompt == engine.prompt(rest)
    assert left_out % 2 == 0 and rest[-1] == messages[-1]
    room = context - min(answer, context // 4)
    if len(prompt.ids) > room:
        assert len(rest) == int(system) + 1  # only the last turn is left


@given(TURNS, st.booleans(), CONTEXTS, ANSWERS)
def test_fitted_drops_at_most_a_quarter_of_the_context_and_a_turn(
    turns: list[tuple[str, str]], system: bool, context: int, answer: int
) -> None:
    engine = FakeEngine(context=context)
    messages = conversation(turns, system)
    _, left_out = fitted(engine, messages, answer=answer)
    if left_out:
        room = context - min(answer, context // 4)
        more = engine.prompt(kept(messages, system, left_out - 2))
        assert len(more.ids) > room - context // 4


@given(TURNS, st.booleans(), CONTEXTS, ANSWERS)
def test_cut_moves_at_most_once_per_quarter_of_the_context(
    turns: list[tuple[str, str]], system: bool, context: int, answer: int
) -> None:
    """Answer after answer: it moves once at most for each quarter that there is too
    much, never back, and the next prompt begins as the last one did."""
    engine = FakeEngine(context=context)
    found = []
    for count in range(1, len(turns) + 1):
        messages = conversation(turns[:count], system)
        found.append(fitted(engine, messages, answer=answer))
    moves = 0
    for (before, left_before), (after, left_after) in pairwise(found):
        assert left_after >= left_before
        moves += left_after > left_before
        if left_after == left_before:
            begun = before.text.removesuffix("assistant: ")
            assert after.text.startswith(begun)
    whole = len(engine.prompt(messages).ids)
    over = whole - (context - min(answer, context // 4))
    assert moves <= max(0, -(-over // (context // 4)))


def test_conversation_that_fits_stays_whole_with_its_prefill() -> None:
    engine = FakeEngine()
    messages = [ChatTurn("user", "a")]
    prompt, left_out = fitted(engine, messages, prefill="It", answer=10)
    assert (prompt, left_out) == (engine.prompt(messages, prefill="It"), 0)
    assert fitted(engine, [], answer=1)[1] == 0


def test_dropped_counts_messages_that_the_template_leaves_out() -> None:
    messages = [
        ChatTurn("system", "be brief "),
        ChatTurn("user", "\nHi"),
        ChatTurn("assistant", "<think>hm</think>\n\nHi"),
        ChatTurn("user", "Hi"),
    ]
    for text, count in (
        ("be brief U: Hi A: <think>hm</think>Hi U: Hi", 0),
        ("U: Hi A: Hi be brief U: Hi A:", 0),  # no thinking, the system message later
        ("U: Hi A: Hi U: Hi A:", 1),
        ("U: Hi A:", 3),
    ):
        assert dropped(messages, Prompt((), text)) == count


@pytest.mark.parametrize("tokenizer", [tiny.tokenizer, marked_words])
@given(text=st.text("the catsondmg.", max_size=12))
def test_ids_of_a_prefill_spell_its_text(
    tokenizer: Callable[[], Any], text: str
) -> None:
    """Also where a text's first word gets a space before it."""
    vocabulary = Vocabulary(tokenizer())
    reader: Any = SimpleNamespace(encode=PromptBuilder(tokenizer()).document)
    prompt = prompt_of(reader, Prompt((7,), "x"), prefill=text)[0]
    assert prompt.ids[0] == 7 and prompt.text == f"x{text}"
    assert b"".join(map(vocabulary.bytes, prompt.ids[1:])) == text.encode()
