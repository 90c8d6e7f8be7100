"""The last answer is read again by its own ids; no text ever changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from lmtui.chat.conversation import Conversation
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.types import (
    ChatTurn,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from tests.byte_level import SPECIALS
from tests.engine import tiny
from tests.engine.test_chat_templates import NAMES, prompts
from tests.engine.text.test_detokenizer import texts

START, END = 1, 2
CHATML = (
    "{% for m in messages %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRIMMED = CHATML.replace("m.content", "m.content | trim")
DRAWN = SamplingSettings(temperature=1.5, top_k=0, top_p=1, min_p=0, max_tokens=12)


def tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tiny.tokenizer().backend_tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|endoftext|>",
        chat_template=template,
    )


@cache
def builder(template: str | None = CHATML) -> PromptBuilder:
    return PromptBuilder(tokenizer(template))


def in_pieces(text: str, cuts: Sequence[int]) -> tuple[int, ...]:
    """Ids that spell a text, seldom those that a tokenizer would choose."""
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    parts = [text[a:b] for a, b in pairwise(places)]
    return tuple(i for part in parts for i in builder().document(part, "no").ids)


def control(ids: Sequence[int]) -> list[int]:
    return [id_ for id_ in ids if id_ in (0, START, END)]


spoken = st.one_of(texts, st.sampled_from([*SPECIALS, " a <|im_end|> b", "\n\nx \n"]))
exchanges = st.lists(
    st.tuples(spoken, spoken.filter(bool), st.lists(st.integers(0, 20), max_size=5)),
    min_size=1,
    max_size=4,
)


def known(prompt: Prompt, answer: str, ids: tuple[int, ...]) -> ChatTurn:
    """An answer as the model generated it after a prompt."""
    read = Prompt((*prompt.ids, *ids), prompt.text + answer)
    return ChatTurn("assistant", answer, read)


def bare(turns: Sequence[ChatTurn]) -> list[ChatTurn]:
    return [replace(turn, known=None) for turn in turns]


@given(said=exchanges)
def test_next_prompt_begins_with_the_last_one_and_its_answer(
    said: list[tuple[str, str, list[int]]],
) -> None:
    made = builder()
    turns: list[ChatTurn] = []
    before: tuple[int, ...] = ()
    for asked, answer, cuts in said:
        turns.append(ChatTurn("user", asked))
        prompt = made.render(turns)
        typed = any(mark in turn.content for turn in turns[:-1] for mark in SPECIALS)
        assert typed or prompt.ids[: len(before)] == before
        plain = made.render(bare(turns))
        assert prompt.text == plain.text
        assert control(prompt.ids) == control(plain.ids)
        assert tiny.tokenizer().decode(prompt.ids) == prompt.text
        ids = in_pieces(answer, cuts)
        before = (*prompt.ids, *ids)
        turns.append(known(prompt, answer, ids))


@given(said=exchanges, draft=spoken)
def test_draft_is_read_after_the_ids_that_its_prompt_will_have(
    said: list[tuple[str, str, list[int]]], draft: str
) -> None:
    made = builder()
    turns: list[ChatTurn] = []
    for asked, answer, cuts in said:
        turns.append(ChatTurn("user", asked))
        turns.append(known(made.render(turns), answer, in_pieces(answer, cuts)))
    context, ids = made.draft(turns, draft)
    whole = made.render([*turns, ChatTurn("user", draft)]).ids
    assert whole[: len(context)] == tuple(context)
    assert tiny.tokenizer().decode([*context, *ids]).endswith(f"user\n{draft}")


@given(said=exchanges, other=spoken)
def test_answer_that_is_changed_is_read_as_the_tokenizer_reads_it(
    said: list[tuple[str, str, list[int]]], other: str
) -> None:
    made = builder()
    turns: list[ChatTurn] = []
    for asked, answer, cuts in said:
        turns.append(ChatTurn("user", asked))
        turns.append(known(made.render(turns), answer, in_pieces(answer, cuts)))
    assume(turns[-1].content != other)
    changed = [*turns[:-1], replace(turns[-1], content=other), ChatTurn("user", "b")]
    assert made.render(changed) == made.render(bare(changed))
    asked = turns[0].content
    changed = [ChatTurn("user", f"{asked}!"), *turns[1:], ChatTurn("user", "b")]
    assert made.render(changed) == made.render(bare(changed))


def test_trimmed_answer_is_read_as_the_tokenizer_reads_it() -> None:
    made = builder(TRIMMED)
    asked = [ChatTurn("user", "a")]
    ids = in_pieces("\nthe cat sat\n", [1, 2, 5])
    answer = known(made.render(asked), "\nthe cat sat\n", ids)
    turns = [*asked, answer, ChatTurn("user", "b")]
    assert made.render(turns) == made.render(bare(turns))


@pytest.mark.parametrize(
    "answer", ["The Rhine is long.", "<think>\nso\n</think>\n\nIt"]
)
@pytest.mark.parametrize("name", NAMES)
def test_published_templates_write_the_same_text_with_ids(
    name: str, answer: str
) -> None:
    made = prompts(name)
    asked = [ChatTurn("user", "a")]
    ids = tuple(i for part in answer for i in made.document(part, "no").ids)
    try:
        turns = [*asked, known(made.render(asked), answer, ids), ChatTurn("user", "b")]
        plain = made.render(bare(turns))
    except LmtuiError:
        pytest.skip("the template refuses the conversation")
    prompt = made.render(turns)
    assert prompt.text == plain.text
    read = turns[1].known
    assert read is not None
    assert prompt.ids in (plain.ids, (*read.ids, *prompt.ids[len(read.ids) :]))


def test_cache_holds_over_the_turns_of_a_chat() -> None:
    loaded = replace(tiny.loaded(), tokenizer=tokenizer(CHATML))
    engine = LocalEngine(loaded)
    chat = Conversation()
    before: tuple[int, ...] = ()
    for seed in range(6):
        asked = chat.say(f"tell {seed}")
        settings = replace(DRAWN, seed=seed)
        label = engine.info.label
        prompt = engine.prompt(chat.messages(asked.id, model=label))
        reply = chat.reply(asked.id, model=label, settings=settings)
        chat.lay_out(reply.id, prompt)
        assert prompt.ids[: len(before)] == before
        for item in engine.generate(prompt, settings):
            if isinstance(item, Step):
                chat.grow(reply.id, [item])
            else:
                chat.finish(reply.id, item)
                assert isinstance(item, GenerationResult)
                assert item.reused_tokens >= len(before) - 1
        said = chat.leaf
        text = len(said.own_ids) - (said.steps[-1].piece == "")
        before = (*prompt.ids, *said.own_ids[:text])
    assert len(chat.path) == 13
