"""From text to ids: the template's control tokens are the only ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from transformers import PreTrainedTokenizerFast

from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from lmtui.models.model_info import facts_of
from tests.byte_level import SPECIALS
from tests.engine import tiny
from tests.engine.document.test_tokenized import marked_words, spaces_in_tokens
from tests.engine.text.test_detokenizer import texts

THINK = len(tiny.tokenizer()) - 1


def writer() -> PromptBuilder:
    return PromptBuilder(tiny.tokenizer())


def builder(template: str | None = None, **options: Any) -> PromptBuilder:
    """A builder with another template, or none."""
    backend = tiny.tokenizer().backend_tokenizer
    return PromptBuilder(
        PreTrainedTokenizerFast(
            tokenizer_object=backend, chat_template=template, **options
        )
    )


def without_template() -> PromptBuilder:
    return builder(eos_token="<|endoftext|>")


# Unicode's characters for use within programs, which the builder marks places with.
RESERVED = ("\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3", "\ufdd4")


@given(
    text=texts.filter(
        lambda t: not any(s in t for s in (*SPECIALS, *RESERVED, "<think>"))
    )
)
def test_ordinary_text_is_tokenised_with_its_template(text: str) -> None:
    tokenizer = tiny.tokenizer()
    prompt = writer().render([ChatTurn("user", text)])
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    assert prompt.text == rendered
    assert list(prompt.ids) == tokenizer(rendered, add_special_tokens=False).input_ids


@pytest.mark.parametrize("special", [*SPECIALS, "<think>"])
@pytest.mark.parametrize("around", ["{}", "a {} b", "<|{}|>", "{}{}"])
def test_a_typed_control_string_stays_text(special: str, around: str) -> None:
    typed = around.replace("{}", special)
    tokenizer = tiny.tokenizer()
    # A mark at the very beginning of an answer is the model's.
    prefill = f"a {typed}" if special == "<think>" else typed
    prompt = writer().render([ChatTurn("user", typed)], prefill=prefill)
    calm = writer().render([ChatTurn("user", "calm")], prefill="calm")
    control = {0, 1, 2, THINK}

    def controls(ids: tuple[int, ...]) -> list[int]:
        return [i for i in ids if i in control]

    assert controls(prompt.ids) == controls(calm.ids)
    assert prompt.text.count(typed) >= 2
    assert tokenizer.decode(prompt.ids) == prompt.text


def test_text_around_a_control_string_is_tokenised_as_a_document() -> None:
    # The text between two of the template's control tokens is one stretch: what
    # stands around a typed control string merges with it as in any document.
    tokenizer = tiny.tokenizer()
    typed = "see (<|im_end|>) here"
    ids = list(writer().render([ChatTurn("user", typed)]).ids)
    inner = writer().document(f"user\n{typed}", "no").ids
    assert ids[: len(inner) + 2] == [1, *inner, 2]
    assert tokenizer.decode(inner) == f"user\n{typed}"


def test_marker_characters_in_a_message_are_replaced() -> None:
    prompt = writer().render([ChatTurn("user", "<\ufdd0|im_end|> \ufdd1")])
    assert prompt.text.count("\ufffd") == 2
    assert [i for i in prompt.ids if i in (0, 1, 2)] == [1, 2, 1]


@pytest.mark.parametrize("special", SPECIALS)
def test_a_document_has_no_control_tokens(special: str) -> None:
    text = f"x{special}y"
    encoding = writer().document(text, "auto")
    assert not set(encoding.ids) & {0, 1, 2}
    assert tiny.tokenizer().decode(encoding.ids) == text


def test_bos_follows_the_tokenizer_unless_told() -> None:
    assert writer().document("a", "auto").prefix == ()
    assert writer().document("a", "yes").prefix == (1,)
    with pytest.raises(LmtuiError, match="no BOS token"):
        without_template().document("a", "yes")


def test_end_ids_include_declared_and_template_end_tokens() -> None:
    declared = facts_of(tiny.model()).end_ids
    assert writer().end_ids(declared) == {0, 2}
    assert writer().end_ids(frozenset([5, 6])) == {0, 2, 5, 6}


def test_a_base_model_gets_the_plain_format() -> None:
    plain = without_template()
    assert not plain.has_template
    prompt = plain.render(
        [ChatTurn("system", "Be brief."), ChatTurn("user", "Hi")], prefill="Yes"
    )
    assert prompt.text == "Be brief.\n\nUser: Hi\nAssistant: Yes"
    assert prompt.stop_texts == ("\nUser:",)


def test_a_template_that_refuses_says_why() -> None:
    refusing = builder("{{ raise_exception('System role not supported') }}")
    with pytest.raises(LmtuiError) as caught:
        refusing.render([ChatTurn("system", "x")])
    assert caught.value.detail == "System role not supported"


def answers_of(made: PromptBuilder, *turns: ChatTurn) -> list[str]:
    """What of a conversation is the model's."""
    ids, ranges = made.render_with_answer_spans(turns)
    return [made._tokenizer.decode(ids[first:behind]) for first, behind in ranges]


def test_answered_finds_the_answers_of_a_conversation() -> None:
    turns = (
        ChatTurn("system", "Be brief."),
        ChatTurn("user", "Hi"),
        ChatTurn("assistant", "Hello"),
        ChatTurn("user", "the cat"),
        ChatTurn("assistant", " sat "),
    )
    assert answers_of(writer(), *turns) == ["Hello<|im_end|>", "sat<|im_end|>"]
    assert answers_of(writer(), *turns[:2]) == []
    assert answers_of(writer(), *turns[2:4]) == ["Hello<|im_end|>"]
    plain = (" Hello\n", " sat ")
    assert answers_of(without_template(), *turns) == list(plain)


@given(content=texts, answer=texts)
def test_answered_ids_follow_the_chat_template(content: str, answer: str) -> None:
    turns = [ChatTurn("user", content), ChatTurn("assistant", answer)]
    ids, ranges = writer().render_with_answer_spans(turns)
    ((first, behind),) = ranges
    asked = writer().render(turns[:1]).ids
    assert asked[-1] == THINK  # of an answer that is written, the template shows none
    assert ids[:first] == list(asked[:-1])
    shown = re.sub("[\ufdd0-\ufdd2]", "\ufffd", answer.strip())
    assert tiny.tokenizer().decode(ids[first:behind]) == f"{shown}<|im_end|>"


@pytest.mark.parametrize("special", [*SPECIALS, "<think>"])
def test_an_answer_with_control_strings_is_found(special: str) -> None:
    typed = f"x {special}y"
    turns = (ChatTurn("user", typed), ChatTurn("assistant", typed))
    ids, ((first, behind),) = writer().render_with_answer_spans(turns)
    assert tiny.tokenizer().decode(ids[first:behind]) == f"{typed}<|im_end|>"
    assert [i for i in ids if i in {0, 1, 2, THINK}] == [1, 2, 1, 2]


@pytest.mark.parametrize("made", [marked_words, spaces_in_tokens])
@pytest.mark.parametrize("typed", ["Hi", "<|im_end|>", "a <|im_start|> b"])
def test_an_answer_is_found_where_texts_begin_with_a_space(
    made: Callable[[], PreTrainedTokenizerFast], typed: str
) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=copy.deepcopy(made().backend_tokenizer),
        additional_special_tokens=list(SPECIALS),
        chat_template=tiny.TEMPLATE,
    )
    turns = (ChatTurn("user", typed), ChatTurn("assistant", "the cat")) * 2
    assert answers_of(PromptBuilder(tokenizer), *turns) == ["the cat<|im_end|>"] * 2


def test_template_text_after_the_prompt_belongs_to_the_answer() -> None:
    # A template may show an answer with thoughts that the prompt does not begin.
    thinking = builder(
        "{% for m in messages %}{{ m.role }}:"
        "{% if m.role == 'assistant' and loop.last %}<think>{% endif %}"
        "{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    turns = [ChatTurn("user", "a"), ChatTurn("assistant", "b")] * 2
    assert answers_of(thinking, *turns) == [
        "b<|im_end|>",
        "<think>b<|im_end|>",
    ]


def test_an_answer_that_the_template_hides_is_not_found() -> None:
    made = builder(
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    )
    assert answers_of(made, ChatTurn("user", "a"), ChatTurn("assistant", "b")) == []
    assert made.turn_end is None


@pytest.mark.parametrize(
    ("eos", "templated", "end"),
    [
        ("<|endoftext|>", True, 0),
        ("<|im_end|>", True, 0),  # it only ends a turn
        ("<|im_end|>", False, 2),
        (None, True, 0),
    ],
)
def test_document_end_is_not_the_end_of_a_turn(
    eos: str | None, templated: bool, end: int
) -> None:
    made = builder(
        tiny.TEMPLATE if templated else None,
        eos_token=eos,
        additional_special_tokens=list(SPECIALS),
    )
    assert made.document_end == end
