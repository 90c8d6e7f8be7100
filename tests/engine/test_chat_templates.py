"""Prompts of published chat templates are those that transformers itself renders."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from lmtui.engine.prompt import PromptBuilder
from lmtui.engine.thinking import opens
from lmtui.engine.types import ChatTurn
from lmtui.errors import LmtuiError
from tests.engine import tiny

SAMPLES = Path(__file__).parent / "chat_templates"
ALL = Path(__file__).parents[2] / ".llama_cpp/source/models/templates"
NAMES = sorted(file.stem for file in SAMPLES.glob("*.jinja"))
OTHERS = sorted({file.stem for file in ALL.glob("*.jinja")} - {*NAMES})
TOKENS = {"bos_token": "<|im_start|>", "eos_token": "<|endoftext|>"}
SYSTEM, ASKED = ChatTurn("system", "Be brief."), ChatTurn("user", "Name a river.")
WORDS, THOUGHT = "The Rhine is", "They want one river."


def prompts(template: str) -> PromptBuilder:
    return PromptBuilder(
        PreTrainedTokenizerFast(
            tokenizer_object=tiny.tokenizer().backend_tokenizer,
            chat_template=template,
            **TOKENS,
        )
    )


def library(template: str, turns: list[dict[str, str]], **options: Any) -> str | None:
    """What transformers renders; None where the template or the library refuses."""
    try:
        texts, _ = render_jinja_template(
            [turns], chat_template=template, **TOKENS, **options
        )
    except Exception:
        return None
    return str(texts[0])


def plain(turns: list[ChatTurn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def continued(
    template: str, turns: list[dict[str, str]], answer: dict[str, str], **options: Any
) -> str | None:
    """What transformers renders of an answer that goes on, with all of its words."""
    field = "content" if answer["content"] else "reasoning_content"
    text = library(template, [*turns, answer], continue_final_message=field, **options)
    return (
        text
        if text and all(words in text for key, words in answer.items() if key != "role")
        else None
    )


def wanted(
    template: str, turns: list[dict[str, str]], prefill: str, **options: Any
) -> str | None:
    """The library's rendering in the first of the ways that keeps all words."""
    said = {"role": "assistant", "content": prefill}
    if THOUGHT not in prefill:
        return continued(template, turns, said, **options)
    apart = {"content": WORDS if WORDS in prefill else "", "reasoning_content": THOUGHT}
    apart["reasoning"] = THOUGHT  # under which the library does not repeat it
    for answer in (said | apart, said):
        text = continued(template, turns, answer, **options)
        if text is not None:
            return text
    asked = library(template, turns, add_generation_prompt=True, **options)
    if asked is not None and opens(asked):
        return asked + prefill.removeprefix("<think>")
    if WORDS in prefill:  # the template drops the thinking
        return wanted(template, turns, WORDS, **options)
    return None


PREFILLS = {
    "asked": "",
    "prefilled": WORDS,
    "thought": f"<think>\n{THOUGHT}\n</think>\n\n{WORDS}",
    "thinking": f"<think>\n{THOUGHT}",
}


def outcomes(template: str) -> dict[str, str]:
    """Of every case: `equal`, `refused`, or what differs."""
    made, found = prompts(template), {}
    switches: list[bool | None] = [None, True, False] if made.switch else [None]
    for turns in ([ASKED], [SYSTEM, ASKED]):
        for thinking in switches:
            options = {} if thinking is None else {str(made.switch): thinking}
            for case, prefill in PREFILLS.items():
                if prefill:
                    text = wanted(template, plain(turns), prefill, **options)
                else:
                    text = library(
                        template, plain(turns), add_generation_prompt=True, **options
                    )
                try:
                    ours = made.write(turns, prefill, thinking=thinking).text
                except LmtuiError as error:
                    assert error.title and error.detail
                    ours = None
                name = f"{case} after {len(turns)}, {thinking}"
                same = "refused" if text is None else "equal"
                found[name] = same if ours == text else f"{ours!r} != {text!r}"
    return found


@cache
def template(name: str) -> str:
    folder = SAMPLES if name in NAMES else ALL
    return (folder / f"{name}.jinja").read_text("utf-8")


@pytest.mark.parametrize("name", [*NAMES, *OTHERS])
def test_prompts_are_those_of_the_library(name: str) -> None:
    found = outcomes(template(name))
    assert {*found.values()} <= {"equal", "refused"}, found
