"""What the model generated is read again by the same ids; no text ever changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from lmtui.chat.conversation import Conversation
from lmtui.engine.engine import LocalEngine
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.types import (
    ChatTurn,
    GenerationResult,
    SamplingSettings,
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


@pytest.mark.parametrize("template", [CHATML, None])
@given(said=exchanges)
def test_next_prompt_begins_with_the_last_one_and_its_answer(
    template: str | None, said: list[tuple[str, str, list[int]]]
) -> None:
    made = builder(template)
    turns: list[ChatTurn] = []
    before: tuple[int, ...] = ()
    for asked, answer, cuts in said:
        if template is None:  # a base model begins with the space
            answer = f" {answer}"
        turns.append(ChatTurn("user", asked))
        prompt = made.render(turns)
        assert prompt.ids[: len(before)] == before
        bare = made.render([replace(turn, ids=()) for turn in turns])
        assert prompt.reread == bare.reread == 0
        if template is not None:
            assert prompt.text == bare.text
            assert control(prompt.ids) == control(bare.ids)
        assert tiny.tokenizer().decode(prompt.ids) == prompt.text
        ids = in_pieces(answer, cuts)
        before = (*prompt.ids, *ids)
        turns.append(ChatTurn("assistant", answer, (*ids, END)))


@given(said=exchanges, draft=spoken)
def test_draft_is_read_after_the_ids_that_its_prompt_will_have(
    said: list[tuple[str, str, list[int]]], draft: str
) -> None:
    turns = []
    for asked, answer, cuts in said:
        turns.append(ChatTurn("user", asked))
        turns.append(ChatTurn("assistant", answer, in_pieces(answer, cuts)))
    context, ids = builder().draft(turns, draft)
    whole = builder().render([*turns, ChatTurn("user", draft)]).ids
    assert whole[: len(context)] == tuple(context)
    assert tiny.tokenizer().decode([*context, *ids]).endswith(f"user\n{draft}")


@given(answer=spoken, ids=st.lists(st.integers(0, 420), max_size=8))
def test_ids_that_spell_another_text_never_change_the_prompt_text(
    answer: str, ids: list[int]
) -> None:
    turns = [ChatTurn("user", "a"), ChatTurn("assistant", answer, tuple(ids))]
    turns.append(ChatTurn("user", "b"))
    for made in (builder(), builder(TRIMMED)):
        prompt = made.render(turns)
        assert prompt.text == made.render([replace(t, ids=()) for t in turns]).text
        assert tiny.tokenizer().decode(prompt.ids) == prompt.text


def test_trimmed_answer_keeps_the_ids_of_its_words_and_is_told() -> None:
    ids = in_pieces("the cat sat", [1, 2, 5])
    newline = in_pieces("\n", [])
    answer = ChatTurn("assistant", "\nthe cat sat\n", (*newline, *ids, *newline, END))
    turns = [ChatTurn("user", "a"), answer, ChatTurn("user", "b")]
    prompt = builder(TRIMMED).render(turns)
    place = next(i for i in range(len(prompt.ids)) if prompt.ids[i:][: len(ids)] == ids)
    assert prompt.ids[place + len(ids)] == END
    assert prompt.reread == 1
    assert builder(CHATML).render(turns).reread == 0


def test_prompt_that_opens_thinking_is_told_to_be_read_otherwise() -> None:
    opened = builder(
        CHATML.replace("assistant\n{% endif", "assistant\n<think>{% endif")
    )
    answer = ChatTurn("assistant", "yes", in_pieces("yes", [1]))
    assert opened.render([ChatTurn("user", "a"), answer, ChatTurn("user", "b")]).reread


@pytest.mark.parametrize(
    "answer", ["The Rhine is long.", "<think>\nso\n</think>\n\nIt"]
)
@pytest.mark.parametrize("name", NAMES)
def test_published_templates_write_the_same_text_with_ids(
    name: str, answer: str
) -> None:
    made = prompts(name)
    words = answer.rpartition("\n")[2]
    ids = (*made.document(answer.removesuffix(words), "no").ids, *in_pieces(words, [1]))
    turns = [ChatTurn("user", "a"), ChatTurn("assistant", answer, ids)]
    turns.append(ChatTurn("user", "b"))
    try:
        bare = made.render([replace(turn, ids=()) for turn in turns])
    except LmtuiError:
        pytest.skip("the template refuses the conversation")
    prompt = made.render(turns)
    assert prompt.text == bare.text
    own = in_pieces(words, [1])
    kept = any(prompt.ids[i:][: len(own)] == own for i in range(len(prompt.ids)))
    assert kept or words not in prompt.text


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
