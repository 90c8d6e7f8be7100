"""What is generated under a grammar follows it, however it is generated."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from tests.engine import tiny
from tests.engine.generation.test_prompt_lookup import assert_same, without_guesses
from tests.examples import examples

TEXT = '{"name": "the cat", "age": 1} {"name": "the cat'
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "bc"]}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
REGEX = r"(the|The) (quick|brown) fox[.!]{1,3}( [0-9]{1,4})?"
VALID = Draft202012Validator(SCHEMA)


def with_grammar(text: str, **changes: Any) -> SamplingSettings:
    values: dict[str, Any] = {"temperature": 1.0, "seed": 1, "max_tokens": 200}
    return SamplingSettings(grammar=text, **(values | changes))


def schema(**changes: Any) -> SamplingSettings:
    return with_grammar(json.dumps(SCHEMA), **changes)


def answered(
    engine: LocalEngine, settings: SamplingSettings, prompt: Prompt | None = None
) -> tuple[list[Step], GenerationResult, str]:
    prompt = prompt or Prompt(engine.encode(TEXT).ids, TEXT)
    *steps, finish = engine.generate(prompt, settings)
    assert isinstance(finish, GenerationResult)
    drawn: list[Step] = steps  # type: ignore[assignment]
    return drawn, finish, "".join(step.piece for step in drawn) + finish.piece


def test_every_finished_answer_is_valid() -> None:
    ended = 0
    for seed in range(examples(4, 8)):
        _, finish, text = answered(tiny.engine(), schema(seed=seed))
        if finish.reason is FinishReason.STOP:
            VALID.validate(json.loads(text))
            ended += 1
        else:
            assert finish.reason is FinishReason.LENGTH
    assert ended


def test_an_answer_ends_where_nothing_can_be_added() -> None:
    steps, finish, text = answered(tiny.engine(), with_grammar("/(yes|no)!/"))
    assert finish.reason is FinishReason.STOP and text in ("yes!", "no!")
    assert all(step.id not in (0, 2) for step in steps)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_guesses_change_no_answer(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = range(examples(1, 4))
    asked = [schema(temperature=temperature, seed=seed) for seed in seeds]
    guessed = [answered(tiny.engine(), each) for each in asked]
    without_guesses(monkeypatch)
    for each, (steps, finish, _) in zip(asked, guessed, strict=True):
        plain, ended, _ = answered(tiny.engine(), each)
        assert_same(steps, plain)
        assert finish.reason is ended.reason


def test_an_answer_that_was_broken_off_goes_on_under_its_grammar() -> None:
    engine = tiny.engine()
    whole = 0
    for seed in range(6):
        for most in (1, 3, 7):
            wanted = with_grammar(f"/{REGEX}/", seed=seed, max_tokens=most)
            begun, _, text = answered(engine, wanted)
            ids = (*engine.encode(TEXT).ids, *(step.id for step in begun))
            more = Prompt(ids, TEXT + text, begun=text)
            _, finish, rest = answered(
                engine, with_grammar(f"/{REGEX}/", seed=seed), more
            )
            if finish.reason is FinishReason.STOP:
                assert re.fullmatch(REGEX, text + rest)
                whole += 1
    assert whole


def test_a_beginning_that_the_grammar_forbids_is_refused() -> None:
    engine = tiny.engine()
    prompt = Prompt(engine.encode("a dog").ids, "a dog", begun="dog")
    with pytest.raises(LmtuiError, match="beginning of the answer"):
        answered(engine, with_grammar("/cat/"), prompt)


def test_a_complete_answer_is_not_continued() -> None:
    engine = tiny.engine()
    prompt = Prompt(engine.encode("a cat").ids, "a cat", begun="cat")
    steps, finish, _ = answered(engine, with_grammar("/cat/"), prompt)
    assert not steps and finish.reason is FinishReason.STOP


def test_the_distribution_tells_what_the_grammar_allows() -> None:
    engine = tiny.engine()
    for step in answered(engine, schema())[0]:
        whole = engine.preview(
            step.distribution.handle, SamplingSettings(top_k=0), count=500
        )
        kept = [row for row in whole.candidates if row.cut != "s"]
        assert whole.allowed == step.distribution.allowed == len(kept)
        mass = math.fsum(row.prob for row in kept)
        assert whole.allowed_prob == pytest.approx(mass, abs=1e-5)
        assert step.id in {row.id for row in kept}


def test_the_mask_of_an_old_position_is_kept() -> None:
    engine = tiny.engine()
    first = answered(engine, schema())[0][0].distribution
    for token in range(3, 70):  # the logits of so many are kept
        engine.next_distribution([token], SamplingSettings())
    again = engine.preview(first.handle, schema())
    assert again.allowed == first.allowed
    assert [row.cut for row in again.candidates] == [
        row.cut for row in first.candidates
    ]


def test_text_without_a_choice_is_forced() -> None:
    steps, _, _ = answered(tiny.engine(), with_grammar("/The (quick|brown) fox/"))
    said = b""
    for step in steps:
        end = len(said) + len(step.bytes)
        free = len(said) <= 4 < end  # the token that has the choice
        assert step.forced != free or step.distribution.allowed == 1
        said += step.bytes
    plain, _, _ = answered(tiny.engine(), SamplingSettings(seed=1, max_tokens=5))
    assert not any(step.forced for step in plain)


def test_bans_and_grammar_that_contradict_end_the_answer_and_say_so() -> None:
    engine = tiny.engine()
    bytes_of = {engine._vocabulary.bytes(i) for i in range(engine.info.vocabulary)}
    banned = tuple(
        f"{data.decode()}=ban" for data in bytes_of if data and b"c".startswith(data)
    )
    wanted = with_grammar("/abc/", logit_bias=banned)
    _, finish, text = answered(engine, wanted)
    assert finish.reason is FinishReason.BLOCKED
    assert "forbid all" in finish.notice and text in ("", "a", "ab")


@pytest.mark.parametrize("thought", ["", "The cat", "<think>The cat"])
def test_a_grammar_begins_behind_the_thinking(thought: str) -> None:
    engine = tiny.engine()
    begun = f"{thought}</think>\n" if thought else ""
    asked = "user\n<think>" if not thought.startswith("<") else "user\n"
    text = asked + begun
    prompt = Prompt(engine.encode(text).ids, text, begun=begun)
    wanted = with_grammar("/(yes|no)!/", max_tokens=20)
    steps, finish, said = answered(engine, wanted, prompt)
    if begun:
        assert finish.reason is FinishReason.STOP and said in ("yes!", "no!")
    else:  # a random model thinks for ever, and must not end there
        assert finish.reason is FinishReason.LENGTH
        assert {step.id for step in steps}.isdisjoint(engine.end_ids)


@pytest.mark.parametrize("typed", ["", "the c", "the quick br", "日"])
def test_a_completion_follows_the_grammar_from_the_cursor_on(typed: str) -> None:
    engine = tiny.engine()
    text = TEXT + " " + typed
    for seed in range(6):
        *steps, finish = engine.document.complete(
            text, len(text), with_grammar(f"/{REGEX}/", seed=seed)
        )
        assert isinstance(finish, GenerationResult)
        said = "".join(step.piece for step in steps if isinstance(step, Step))
        if finish.reason is FinishReason.STOP:
            assert re.fullmatch(REGEX, said + finish.piece)
        else:
            assert finish.reason is FinishReason.BLOCKED
