"""What of an answer is thinking, and what a template makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from lmtui.engine.engine import LocalEngine
from lmtui.engine.text.detokenizer import TextStream, Vocabulary
from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.text.thinking import MARKS, ThinkingFinder, opens, thinking_in
from lmtui.engine.types import ChatTurn
from lmtui.models.chat_template import variables
from tests.byte_level import trained
from tests.engine import tiny
from tests.engine.test_chat_templates import template
from tests.examples import examples

SWITCHED = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and '</think>' in m.content %}"
    "{{ m.content.split('</think>')[-1].lstrip('\\n') }}"
    "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""What Qwen3's template does, in short."""
OPENED = SWITCHED.replace(
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}",
    "<think>\n",
)
"""What DeepSeek-R1's template does, in short."""
WORDS = st.text(st.sampled_from("ab \n<>/think[]THINK"), max_size=30)


WORD_MARKS = [mark for pair in MARKS[:2] for mark in pair]


def tokenizer(
    template: str, marks: Sequence[str] = WORD_MARKS, *, special: bool = False
) -> PreTrainedTokenizerFast:
    """The tiny tokenizer with the marks as tokens, and another template."""
    made = PreTrainedTokenizerFast(
        tokenizer_object=trained(tiny.CORPUS, size=400),
        bos_token="<|im_start|>",
        eos_token="<|endoftext|>",
        chat_template=template,
    )
    made.add_tokens([AddedToken(m, special=special, normalized=False) for m in marks])
    return made


def parts(text: str, *, opened: bool = False) -> tuple[str, str] | None:
    """The words of the thinking and those of the answer."""
    found = thinking_in(text, opened=opened)
    return (text[found.start : found.stop], text[found.end :]) if found else None


@pytest.mark.parametrize(("opening", "closing"), MARKS)
@given(thought=WORDS, answer=WORDS)
def test_thinking_ends_at_its_first_closing_mark(
    opening: str, closing: str, thought: str, answer: str
) -> None:
    closings = [mark for _, mark in MARKS]
    if any(mark in f"{thought}{closing}"[:-1] for mark in closings):
        return
    found = parts(f"{opening}\n{thought}{closing}\n\n{answer}")
    assert found == (thought.lstrip("\n"), answer.lstrip("\n"))


@given(text=WORDS, opened=st.booleans())
def test_thinking_in_gives_consistent_spans_of_the_text(
    text: str, opened: bool
) -> None:
    found = thinking_in(text, opened=opened)
    if found is None:
        return
    assert 0 <= found.start <= found.stop <= found.end <= len(text)
    assert text[: found.start].strip() == found.opening
    assert text[found.stop : found.end].rstrip("\n") == found.closing
    assert bool(found.closing) or found.end == len(text)


_PARTS = [
    part for pair in MARKS for mark in pair for part in (mark, mark[:3], mark[3:])
]
_PARTS += ["\n", "\n\n", " ", "\t", "so so", "x", "<|", ""]


@settings(max_examples=examples(200, 2000))
@given(
    st.lists(st.sampled_from(_PARTS), max_size=12),
    st.lists(st.integers(0, 12), max_size=12),
    st.booleans(),
)
def test_thinking_finder_equals_thinking_in_at_every_length(
    parts: list[str], sizes: list[int], opened: bool
) -> None:
    text, end = "".join(parts), 0
    finder = ThinkingFinder(opened=opened)
    for size in [*sizes, len(text)]:
        end = min(len(text), end + size)
        assert finder.find(text[:end]) == thinking_in(text[:end], opened=opened)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "it is written <think> and </think>\n",
        "the mark `</think>` ends it",
        "```\n<think>\na\n</think>\n```",
        "",
    ],
)
def test_an_answer_that_speaks_of_the_marks_is_no_thinking(text: str) -> None:
    assert thinking_in(text) is None


def test_thinking_opened_by_the_prompt_is_found() -> None:
    assert parts("a\n</think>\n\nb") == ("a\n", "b")
    assert parts("a </think> b", opened=True) == ("a ", " b")
    assert parts("a", opened=True) == ("a", "")
    assert parts("<think>\na") == ("a", "")
    assert opens("…assistant\n<think>\n") and not opens("<think>\n\n</think>\n\n")


def asked(made: PromptBuilder, *turns: str, thinking: bool | None = None) -> str:
    """What is sent after these turns of the user and the model."""
    roles = ("user", "assistant")
    messages = [ChatTurn(roles[i % 2], text) for i, text in enumerate(turns)]  # type: ignore[arg-type]
    prompt = made.render(messages, thinking=thinking)
    assert made._tokenizer.decode(prompt.ids) == prompt.text
    return prompt.text


def test_thinking_marks_of_an_answer_are_control_tokens() -> None:
    kept = SWITCHED.replace("'</think>' in m.content", "false")
    fast = tokenizer(kept)
    made = PromptBuilder(fast)
    inside = "a <|im_end|> <think> b"
    messages = [
        ChatTurn("user", "<think>x</think>"),
        ChatTurn("assistant", f"<think>{inside}</think>c </think>"),
        ChatTurn("user", "d"),
    ]
    ids = list(made.render(messages).ids)
    first, last = (fast.convert_tokens_to_ids(mark) for mark in MARKS[0])
    assert [i for i in ids if i in (first, last)] == [first, last]
    assert ids.count(2) == 3  # the end of each turn, and of nothing else


CONTROLS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")


def test_thinking_on_a_harmony_channel_is_found() -> None:
    fast = tokenizer(template("openai-gpt-oss-120b"), marks=CONTROLS, special=True)
    spelled = "<|channel|>analysis<|message|>a cat?<|end|><|start|>assistant<|channel|>"
    said = f"{spelled}final<|message|>the dog"
    vocabulary = Vocabulary(fast)
    ids = fast(said, add_special_tokens=False).input_ids
    assert {fast.convert_tokens_to_ids(t) for t in CONTROLS[:4]} <= set(ids)
    stream = TextStream()
    text = "".join(stream.feed(vocabulary.bytes(i)) for i in ids)
    assert text == said and parts(text) == ("a cat?", "the dog")
    cut = text[: text.index("?<|end|>")]
    assert parts(cut) == ("a cat", "")
    made = PromptBuilder(fast)
    for answer, kept in ((said, "the dog"), (cut, "")):
        prompt = made.render([ChatTurn("user", "Hi"), ChatTurn("assistant", answer)])
        before, _, sent = prompt.text.partition("<|channel|>final<|message|>")
        assert (
            sent == f"{kept}<|end|><|start|>assistant"
            and "<|channel|>analysis" not in before
        )
    # Typed by the user, the marks are text.
    prompt = made.render([ChatTurn("user", said)])
    channel = fast.convert_tokens_to_ids("<|channel|>")
    assert said in prompt.text and channel not in prompt.ids


def test_template_without_thinking_gets_the_whole_text() -> None:
    plain = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"
    prompt = PromptBuilder(tokenizer(plain)).render(
        [ChatTurn("assistant", "<think>a</think>b")]
    )
    assert prompt.text == "<think>a</think>b<|im_end|>"


def test_thinking_is_switched_where_the_template_has_a_switch() -> None:
    made = PromptBuilder(tokenizer(SWITCHED))
    assert made.switch == "enable_thinking"
    auto = asked(made, "Hi")
    assert asked(made, "Hi", thinking=True) == auto
    assert asked(made, "Hi", thinking=False) == f"{auto}<think>\n\n</think>\n\n"
    other = PromptBuilder(tokenizer(SWITCHED.replace("enable_thinking", "thinking")))
    assert other.switch == "thinking"
    assert asked(other, "Hi", thinking=False).endswith("</think>\n\n")


def test_template_without_a_switch_ignores_the_thinking_setting() -> None:
    made = PromptBuilder(tokenizer(OPENED))
    assert made.switch is None
    assert asked(made, "Hi", thinking=False) == asked(made, "Hi")
    # The word alone makes no switch.
    speaks = OPENED.replace("<think>\n", "You are thinking.")
    assert PromptBuilder(tokenizer(speaks)).switch is None


def test_thinking_switch_reaches_drafts() -> None:
    said = "{% if enable_thinking %}/think{% else %}/no{% endif %}\n"
    made = PromptBuilder(tokenizer(said + SWITCHED))
    told = {
        value: made._tokenizer.decode(made.draft([], "Hi", thinking=value)[0])
        for value in (True, False)
    }
    assert told[True].startswith("/think<") and told[False].startswith("/no<")


def test_variables_are_what_a_template_looks_up() -> None:
    assert "enable_thinking" in variables(SWITCHED)
    late = "{% if not thinking is defined %}{% set thinking = false %}{% endif %}"
    assert "thinking" in variables(f"{late}{{{{ thinking }}}}")
    assert variables("{% broken") == frozenset()


def test_engine_info_says_whether_thinking_can_be_switched() -> None:
    plain = tiny.loaded()
    switched = replace(plain, tokenizer=tokenizer(SWITCHED))
    assert not LocalEngine(plain).info.switches_thinking
    engine = LocalEngine(switched)
    assert engine.info.switches_thinking
    prompt = engine.prompt([ChatTurn("user", "the cat")], thinking=False)
    assert prompt.text.endswith("</think>\n\n")


@pytest.mark.parametrize("closing", ["<channel|>", "<|END_THINKING|>", "</seed:think>"])
def test_closing_mark_alone_is_text_where_no_prompt_opens_it(closing: str) -> None:
    assert thinking_in(f"A thought ends with {closing}\nThen comes the answer.") is None


def test_thinking_ends_with_the_mark_of_the_model_that_ended_it() -> None:
    for opening, _ in MARKS:
        for _, closing in MARKS:
            span = thinking_in(f"{opening}\nhm{closing}\nSo")
            assert span is not None
            assert (span.opening, span.closing) == (opening, closing)


def test_words_that_begin_like_a_mark_are_text() -> None:
    assert thinking_in("<|channel>thoughts are free") is None
