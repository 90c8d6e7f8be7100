"""Prompts of published chat templates are those that transformers itself renders."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from lmtui.engine.text.prompt import PromptBuilder
from lmtui.engine.text.thinking import MARKS
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from tests.engine import tiny

SAMPLES = Path(__file__).parent / "chat_templates"
ALL = Path(__file__).parents[2] / ".llama_cpp/source/models/templates"
NAMES = sorted(file.stem for file in SAMPLES.glob("*.jinja"))
OTHERS = sorted({file.stem for file in ALL.glob("*.jinja")} - {*NAMES})
TOKENS = {"bos_token": "<|im_start|>", "eos_token": "<|endoftext|>"}
SYSTEM, ASKED = ChatTurn("system", "Be brief."), ChatTurn("user", "Name a river.")
WORDS, THOUGHT = "The Rhine is", "They want a name."
PREFILLS = {
    "asked": "",
    "prefilled": WORDS,
    "thought": f"<think>\n{THOUGHT}\n</think>\n\n{WORDS}",
    "thinking": f"<think>\n{THOUGHT}",
}


@cache
def template(name: str) -> str:
    folder = SAMPLES if name in NAMES else ALL
    return (folder / f"{name}.jinja").read_text("utf-8")


@cache
def prompts(name: str) -> PromptBuilder:
    """The builder for a template, with a tokenizer whose tokens all marks are."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny.tokenizer().backend_tokenizer,
        chat_template=template(name),
        **TOKENS,
    )
    marks = {mark.strip() for pair in MARKS[:2] for mark in pair}
    tokenizer.add_tokens(
        [AddedToken(mark, special=False, normalized=False) for mark in sorted(marks)]
    )
    return PromptBuilder(tokenizer)


def library(name: str, turns: list[dict[str, str]], **options: Any) -> str | None:
    """What transformers renders; None where the template or the library refuses."""
    try:
        texts, _ = render_jinja_template(
            [turns], chat_template=template(name), **TOKENS, **options
        )
    except Exception:
        return None
    return str(texts[0])


def plain(turns: list[ChatTurn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def ours(
    name: str, turns: list[ChatTurn], prefill: str, thinking: bool | None
) -> str | None:
    try:
        prompt = prompts(name).render(turns, prefill, thinking=thinking)
    except LmtuiError as error:
        assert error.title and error.detail and error.hint
        return None
    assert not {*"\ufdd0\ufdd1\ufdd2\ufdd3\ufdd4"} & {*prompt.text}
    return prompt.text


def cases(name: str) -> Iterator[tuple[list[ChatTurn], bool | None, dict[str, Any]]]:
    """The conversations, with thinking left open, on and off where there is a
    switch."""
    switch = prompts(name).switch
    for turns in ([ASKED], [SYSTEM, ASKED]):
        for thinking in [None, True, False] if switch else [None]:
            yield turns, thinking, {} if thinking is None else {str(switch): thinking}


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_prompts_are_those_of_the_library(name: str) -> None:
    for turns, thinking, options in cases(name):
        wanted = library(name, plain(turns), add_generation_prompt=True, **options)
        assert ours(name, turns, "", thinking) == wanted


LOSES_SYSTEM = ("mistralai-Mistral-Nemo-Instruct-2407",)
"""Templates that write the system message only before a last question."""


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_continued_answers_are_those_of_the_library(name: str) -> None:
    answer = {"role": "assistant", "content": WORDS}
    for turns, thinking, options in cases(name):
        found = ours(name, turns, WORDS, thinking)
        if name in LOSES_SYSTEM and SYSTEM in turns:
            asked = library(name, plain(turns), add_generation_prompt=True, **options)
            assert found == f"{asked}{WORDS}"
            continue
        assert found == library(
            name, [*plain(turns), answer], continue_final_message=True, **options
        )


def apart(case: str) -> dict[str, str]:
    """An answer with its thinking apart, under every name but the one that the library
    adds by itself."""
    words = WORDS if case == "thought" else ""
    fields = dict.fromkeys(("reasoning_content", "reasoning"), THOUGHT)
    return {"role": "assistant", "content": words, **fields}


@pytest.mark.parametrize("case", ["thought", "thinking"])
@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_thinking_stands_where_the_template_or_the_model_puts_it(
    name: str, case: str
) -> None:
    field = "content" if case == "thought" else "reasoning_content"
    for turns, thinking, options in cases(name):
        found = ours(name, turns, PREFILLS[case], thinking)
        turned = [*plain(turns), apart(case)]
        wanted = library(name, turned, continue_final_message=field, **options)
        if wanted and THOUGHT in wanted and (case == "thinking" or WORDS in wanted):
            assert found == wanted
            continue
        if found is None:  # as the question alone
            assert library(name, plain(turns), add_generation_prompt=True) is None
            continue
        # One thinking, around the thought, and the words behind it.
        tail = found.rpartition(ASKED.content)[2]
        opening = [mark for mark, _ in MARKS if mark.rstrip() in tail]
        closing = [mark for _, mark in MARKS if mark in tail]
        assert len(opening) == 1 and tail.count(opening[0].rstrip()) == 1, tail
        before, _, behind = tail.partition(THOUGHT)
        assert opening[0].rstrip() in before
        if case == "thinking":
            assert (closing, behind) == ([], "")
        else:
            assert len(closing) == 1 and behind.count(closing[0]) == 1
            assert behind.endswith(WORDS) and behind.count(WORDS) == 1


THINKS, WROTE = f"<think>\n{THOUGHT}", f"<think>\n{THOUGHT}\n</think>\n\n{WORDS}"
WRITTEN: list[tuple[str, bool | None, str, str]] = [
    ("Qwen3.5-4B", None, f"{THINKS}\n\n", f"assistant\n{THINKS}\n\n"),
    (
        "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
        None,
        WROTE,
        f"<｜Assistant｜><think>\n{THOUGHT}\n</think>\n\n{WORDS}",
    ),
    ("deepseek-ai-DeepSeek-V3.1", True, THINKS, f"<｜Assistant｜><think>{THOUGHT}"),
    (
        "google-gemma-4-31B-it",
        True,
        f"<|channel>thought\n{THOUGHT}",
        f"<|turn>model\n<|channel>thought\n{THOUGHT}",
    ),
    (
        "google-gemma-4-31B-it",
        None,
        f"<|channel>thought\n{THOUGHT}<channel|>{WORDS}",
        f"<|turn>model\n<|channel>thought\n{THOUGHT}<channel|>{WORDS}",
    ),
    (
        "ByteDance-Seed-OSS",
        None,
        f"<seed:think>{THOUGHT}</seed:think>\n{WORDS}",
        f"assistant\n<seed:think>{THOUGHT}</seed:think>\n{WORDS}",
    ),
    (
        "Apertus-8B-Instruct",
        None,
        WROTE,
        f"<|inner_prefix|>\n{THOUGHT}\n<|inner_suffix|>\n\n{WORDS}",
    ),
]


@pytest.mark.parametrize(("name", "thinking", "prefill", "end"), WRITTEN)
def test_answers_go_on_in_their_place(
    name: str, thinking: bool | None, prefill: str, end: str
) -> None:
    found = ours(name, [SYSTEM, ASKED], prefill, thinking)
    assert found is not None and found.endswith(end)


OTHER_FIELDS = ("openai-gpt-oss-120b", "upstage-Solar-Open-100B")
"""Templates that look thinking up under another name than `reasoning_content`."""


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_template_decides_about_the_thinking_of_earlier_answers(name: str) -> None:
    earlier = f"<think>\n{THOUGHT}\n</think>\n\nThe Rhine."
    turns = [ASKED, ChatTurn("assistant", earlier), ChatTurn("user", "Another?")]
    found = ours(name, turns, "", None)
    fields = dict.fromkeys(("reasoning_content", "reasoning"), THOUGHT)
    answers = [
        {"role": "assistant", "content": "The Rhine.", **fields},
        {"role": "assistant", "content": earlier},
    ]
    renderings = [
        library(name, [*plain(turns[:1]), a, *plain(turns[2:])],
                add_generation_prompt=True)
        for a in answers
    ]  # fmt: skip
    looked_up = "reasoning_content" in template(name) or name in OTHER_FIELDS
    assert found == renderings[0 if looked_up else 1]


def test_marks_are_tokens_around_the_thought_and_text_within() -> None:
    for name in NAMES:
        made = prompts(name)
        if "<think>" not in template(name) or "</think>" not in template(name):
            continue  # to such a template they are text
        ids_of = made._tokenizer.convert_tokens_to_ids
        first, last = ids_of("<think>"), ids_of("</think>")
        typed = "They wrote <think> and <|im_end|>."
        prefill = f"<think>\n{typed}\n</think>\n\nSo </think> it is"
        turns = [ChatTurn("user", "What is <think>?")]
        prompt = made.render(turns, prefill)
        written = made.render(turns, PREFILLS["thought"])
        marks = [i for i in prompt.ids if i in (first, last)]
        assert marks == [i for i in written.ids if i in (first, last)]
        assert made._tokenizer.decode(prompt.ids) == prompt.text
