"""Guesses change how a text is made, and nothing of the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.engine import LocalEngine
from lmtui.engine.generation.prompt_lookup import PromptLookup
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    GenerationResult,
    Prompt,
    Step,
)
from tests.engine import tiny
from tests.engine.test_prefix_cache import counted
from tests.examples import examples

TEXT = "the cat sat on the mat and the dog sat on the log\nthe cat sat on the mat and"
COSTS = TransformersBackend.extra_token_costs
MOST = len(COSTS)


def made(
    engine: LocalEngine, settings: SamplingSettings, text: str = TEXT
) -> tuple[list[Step], GenerationResult]:
    *steps, finish = engine.generate(Prompt(engine.encode(text).ids, text), settings)
    assert isinstance(finish, GenerationResult)
    return steps, finish  # type: ignore[return-value]


def without_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PromptLookup, "guess", lambda self, most: ())


def assert_same(one: Sequence[Step], other: Sequence[Step]) -> None:
    assert [step.id for step in one] == [step.id for step in other]
    for a, b in zip(one, other, strict=True):
        assert (a.text, a.bytes, a.piece, a.rank) == (b.text, b.bytes, b.piece, b.rank)
        assert a.logprob == pytest.approx(b.logprob, abs=1e-4)
        assert a.entropy == pytest.approx(b.entropy, abs=1e-3)
        assert a.sampled_prob == pytest.approx(b.sampled_prob, abs=1e-3)
        rows = zip(a.distribution.candidates, b.distribution.candidates, strict=True)
        for row, wanted in rows:
            assert row.logprob == pytest.approx(wanted.logprob, abs=1e-4)


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_prompt_lookup_changes_no_token(
    family: str, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tiny.engine(family, context=256)
    seeds = range(examples(2, 10) if temperature else 1)
    asked = [
        SamplingSettings(temperature=temperature, seed=seed, max_tokens=24)
        for seed in seeds
    ]
    guessed = [made(engine, settings) for settings in asked]
    without_guesses(monkeypatch)
    for settings, (steps, finish) in zip(asked, guessed, strict=True):
        plain, ended = made(tiny.engine(family, context=256), settings)
        assert_same(steps, plain)
        assert (finish.reason, finish.tokens) == (ended.reason, ended.tokens)
        assert finish.logprob == pytest.approx(ended.logprob, abs=1e-3)


def test_right_guesses_take_fewer_forward_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    greedy = SamplingSettings(temperature=0, max_tokens=60)
    engine = tiny.engine(context=400)
    first, _ = made(engine, greedy)
    answer = [step.id for step in first]

    def foresee(self: PromptLookup, most: int) -> Sequence[int]:
        return answer[len(self._ids) - begun :][: min(most, MOST)]

    begun = len(engine.encode(TEXT).ids)
    monkeypatch.setattr(PromptLookup, "guess", foresee)
    engine = tiny.engine(context=400)
    with counted(tiny.model()) as lengths:
        again, finish = made(engine, greedy)
    assert [step.id for step in again] == answer
    # The first token of each pass is drawn from the logits of its last guess.
    assert [step.guessed for step in again[:3]] == [False, False, True]
    supplied = sum(bool(step.guessed) for step in again)
    assert finish.guessed_tokens == supplied == 60 - len(lengths)
    assert lengths[1:] == [1 + MOST] * (59 // (1 + MOST)) + [59 % (1 + MOST)]


def test_steps_without_speculation_say_nothing_of_guesses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TransformersBackend, "extra_token_costs", ())
    steps, finish = made(tiny.engine(), SamplingSettings(max_tokens=8))
    assert {step.guessed for step in steps} == {finish.guessed_tokens} == {None}


@pytest.mark.parametrize("tokens", [1, 2, 30])
def test_prefix_cache_after_prompt_lookup_continues_exactly(tokens: int) -> None:
    engine = tiny.engine(context=256)
    settings = SamplingSettings(temperature=1, seed=3, max_tokens=tokens)
    steps, finish = made(engine, settings)
    assert finish.tokens <= tokens
    longer = TEXT + "".join(step.text for step in steps) + " and the"
    greedy = SamplingSettings(temperature=0, max_tokens=8)
    again, _ = made(engine, greedy, longer)
    fresh, _ = made(tiny.engine(context=256), greedy, longer)
    assert_same(again, fresh)


def test_generation_closed_midway_does_not_change_the_next_one() -> None:
    greedy = SamplingSettings(temperature=0, max_tokens=40)
    wanted, _ = made(tiny.engine(context=256), greedy)
    engine = tiny.engine(context=256)
    for count in (1, 7, 39):
        going = engine.generate(Prompt(engine.encode(TEXT).ids, TEXT), greedy)
        assert [next(going).id for _ in range(count)] == [s.id for s in wanted[:count]]
        going.close()
        assert_same(made(engine, greedy)[0], wanted)


@pytest.mark.parametrize("room", [1, 2, 5])
def test_prompt_lookup_exceeds_neither_context_nor_max_tokens(room: int) -> None:
    ids = tiny.engine().encode(TEXT).ids
    for context, most in ((len(ids) + room, 99), (256, room)):
        engine = tiny.engine(context=context)
        _, finish = made(engine, SamplingSettings(temperature=0, max_tokens=most))
        assert finish.tokens <= room
        assert len(engine.cache.ids) <= len(ids) + room


def test_prompt_lookup_sees_the_text_after_the_cursor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []
    init = PromptLookup.__init__

    def note(self: PromptLookup, costs: Sequence[float], *texts: Any) -> None:
        seen.extend(list(text) for text in texts)
        init(self, costs, *texts)

    monkeypatch.setattr(PromptLookup, "__init__", note)
    engine = tiny.engine(context=256)
    settings = SamplingSettings(temperature=0, max_tokens=6)
    text = TEXT + " the dog sat on the log\n"
    list(engine.document.complete(text, len(TEXT), settings))
    beside, before = seen[:2]
    assert beside == list(engine.encode(text).ids[-len(beside) :])
    assert before[:5] == list(engine.encode(TEXT).ids[:5])


# Guesses.


SIZES = (16, 8, 4, 3, 2, 1)
FREE = (0.0,) * MOST


@given(st.lists(st.integers(0, 1), max_size=60))
def test_guess_is_what_followed_the_same_tokens_earlier(ids: list[int]) -> None:
    guess = list(PromptLookup(FREE, ids).guess(MOST))
    for size in SIZES:
        tail = ids[-size:]
        places = [
            n for n in range(size, len(ids)) if ids[n - size : n] == tail
        ] if len(tail) == size else []  # fmt: skip
        if places:
            again = ids[places[-1] :] * MOST
            assert guess == again[:MOST]
            return
    assert guess == []


@given(st.lists(st.integers(0, 2), min_size=30, max_size=90), st.integers(0, MOST))
def test_guess_length_is_bounded_by_its_costs_and_the_limit(
    ids: list[int], most: int
) -> None:
    guesser = PromptLookup((0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1), ids)
    assert len(guesser.guess(most)) <= most
    assert not PromptLookup((1.0,) * MOST, ids[:5]).guess(1)  # never wins its cost
    assert len(PromptLookup(FREE, ids).guess(most)) == most


def test_wrong_guesses_become_rare_and_right_ones_long() -> None:
    begun = [1, 2, 3, 4, 5] * 4
    right = PromptLookup(COSTS, begun)
    lengths = []
    for token in begun * 10:
        lengths.append(len(right.guess(MOST)))
        right.add(token)
    assert set(lengths[-20:]) == {MOST}
    wrong, again = PromptLookup(COSTS, range(100)), 0
    for token in range(400):  # each comes after the same one, and then another
        for part in (token % 100, 1000 + token):
            again += bool(wrong.guess(MOST)) if token > 100 else 0
            wrong.add(part)
    assert again < 10
