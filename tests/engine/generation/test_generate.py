"""Generation: when it ends, what it adds up to, and that it can be stopped."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    FinishReason,
    GenerationResult,
    Prompt,
    Step,
)
from lmtui.errors import LmtuiError
from tests.engine import tiny
from tests.examples import examples

FREE = SamplingSettings(temperature=1, top_k=0, top_p=1, min_p=0, seed=1)
PROMPT = Prompt((5, 6, 7, 8), "")


def plain(**changes: Any) -> SamplingSettings:
    """Settings that let through every token, with changes."""
    values = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 1}
    return SamplingSettings(**(values | {"max_tokens": 12} | changes))


def run(
    engine: LocalEngine,
    prompt: Prompt = PROMPT,
    wanted: SamplingSettings = FREE,
    **how: Any,
) -> tuple[list[Step], GenerationResult]:
    *steps, finish = engine.generate(prompt, wanted, **how)
    assert isinstance(finish, GenerationResult)
    assert all(isinstance(step, Step) for step in steps)
    return steps, finish  # type: ignore[return-value]


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_generated_logprobs_equal_those_of_score(family: str, device: str) -> None:
    engine = tiny.engine(family, device)
    steps, finish = run(engine, wanted=plain(max_tokens=60))
    ids = [step.id for step in steps]
    scored = list(engine.score(ids, prefix=PROMPT.ids))
    for step, token in zip(steps, scored, strict=True):
        assert token.logprob == pytest.approx(step.logprob, abs=1e-4)
        assert token.entropy == pytest.approx(step.entropy, abs=1e-3)
    total = math.fsum(token.logprob or 0 for token in scored)
    assert finish.logprob == pytest.approx(total, abs=1e-3)
    assert finish.tokens == len(steps)
    assert finish.perplexity == pytest.approx(math.exp(-total / len(steps)))


def test_the_seed_that_is_told_gives_the_same_ids_again() -> None:
    first, used = run(tiny.engine(), wanted=plain(seed=None))
    again, _ = run(tiny.engine(), wanted=plain(seed=used.seed))
    other, _ = run(tiny.engine(), wanted=plain(seed=used.seed + 1))
    assert [s.id for s in first] == [s.id for s in again] != [s.id for s in other]


def test_pieces_join_to_the_whole_text() -> None:
    for seed in range(5):
        steps, finish = run(tiny.engine(), wanted=plain(seed=seed, max_tokens=40))
        ids = [s.id for s in steps if s.id not in (0, 2)]
        text = "".join(s.piece for s in steps) + finish.piece
        whole = tiny.tokenizer().decode(ids)
        assert whole in (text, text + "\ufffd")


def test_generation_ends_at_every_end_token() -> None:
    engine = tiny.engine()
    asked = engine.prompt([ChatTurn("user", "Hello")])
    seen = set()
    for seed in range(60):
        steps, finish = run(engine, asked, wanted=plain(seed=seed, max_tokens=400))
        if finish.reason is FinishReason.STOP:
            seen.add(steps[-1].id)
            assert steps[-1].piece == ""
            assert finish.tokens == len(steps)
        assert not {0, 2} & {s.id for s in steps[:-1]}
        if seen == {0, 2}:
            break
    # The model's own end token, and the one that the template puts after an answer.
    assert seen == {0, 2}


def test_generation_ends_when_the_context_is_full() -> None:
    engine = tiny.engine(context=10)
    ends = [run(engine, wanted=plain(max_tokens=99, seed=seed)) for seed in range(9)]
    full = [steps for steps, finish in ends if finish.reason is FinishReason.CONTEXT]
    assert full
    assert {len(steps) for steps in full} == {6}
    assert max(len(steps) for steps, _ in ends) == 6


@pytest.mark.parametrize("length", [0, 10, 11])
def test_a_prompt_without_room_is_refused(length: int) -> None:
    with pytest.raises(LmtuiError) as caught:
        tiny.engine(context=10).generate(Prompt((5,) * length, ""), FREE)
    assert caught.value.title in (
        "there is nothing to continue",
        "the prompt does not fit the context",
    )


def test_cancellation_ends_generation_within_one_token() -> None:
    produced: list[Step | GenerationResult] = []
    with cancelled_when(lambda: len(produced) == 3):
        for item in tiny.engine().generate(PROMPT, plain(max_tokens=50)):
            produced.append(item)
    assert [type(item) for item in produced] == [Step, Step, Step, GenerationResult]
    finish = produced[-1]
    assert isinstance(finish, GenerationResult)
    assert (finish.reason, finish.tokens) == (FinishReason.CANCELLED, 3)


@pytest.mark.parametrize("stopped", [False, True])
def test_generation_times_end_at_the_last_token(
    stopped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count()  # seconds: a step later at each look
    clock = SimpleNamespace(perf_counter=lambda: float(next(now)))
    monkeypatch.setattr("lmtui.engine.generation.answer_row.time", clock)
    made: list[tuple[Step | GenerationResult, float]] = []

    def stop() -> bool:
        clock.perf_counter()  # what is tried after the last token takes time, too
        return stopped and len(made) == 4

    with cancelled_when(stop):
        for item in tiny.engine().generate(PROMPT, plain(max_tokens=6)):
            made.append((item, clock.perf_counter()))
    (_, last), (finish, _) = made[-2:]
    assert (
        isinstance(finish, GenerationResult) and finish.first_token_seconds is not None
    )
    assert 0 < finish.prompt_seconds < finish.first_token_seconds
    whole = finish.prompt_seconds + finish.seconds
    assert finish.first_token_seconds < whole < last


def test_cancellation_ends_generation_during_prefill() -> None:
    engine = tiny.engine()
    asked = itertools.count()
    with cancelled_when(lambda: next(asked) >= 2):
        steps, finish = run(engine, wanted=plain())
    assert steps == [] and finish.first_token_seconds is None
    assert finish.reason is FinishReason.CANCELLED
    assert finish.perplexity is finish.tokens_per_second is None


@given(
    temperature=st.floats(0.1, 2),
    top_k=st.sampled_from([0, 1, 5, 40]),
    top_p=st.floats(0.1, 1),
    min_p=st.floats(0, 0.5),
    penalty=st.sampled_from([1.0, 1.5]),
)
@settings(deadline=None, max_examples=examples(15, 200))
def test_preview_equals_the_distribution_drawn_from(
    temperature: float, top_k: int, top_p: float, min_p: float, penalty: float
) -> None:
    engine = tiny.engine()
    wanted = plain(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=penalty,
        max_tokens=3,
    )
    before = engine.next_distribution(PROMPT.ids, FREE)
    steps, _ = run(engine, wanted=wanted)
    assert _rows(engine.preview(before.handle, wanted)) == _rows(steps[0].distribution)
    for step in steps:
        assert engine.preview(step.distribution.handle, wanted) == step.distribution
        chosen = [c for c in step.distribution.candidates if c.id == step.id]
        assert all(c.sampled_prob == step.sampled_prob and not c.cut for c in chosen)


def _rows(distribution: Any) -> Any:
    return [
        (c.id, pytest.approx(c.logprob, abs=1e-5), pytest.approx(c.sampled_prob), c.cut)
        for c in distribution.candidates
    ]


@pytest.mark.parametrize("wanted", [FREE, SamplingSettings(), plain(temperature=0)])
def test_probabilities_of_rows_and_rest_sum_to_one(wanted: SamplingSettings) -> None:
    shown = tiny.engine().next_distribution(PROMPT.ids, wanted, top_n=7)
    raw = sum(c.prob for c in shown.candidates) + shown.rest_prob
    sampled = sum(c.sampled_prob or 0 for c in shown.candidates)
    assert len(shown.candidates) == 7
    assert raw == pytest.approx(1, abs=1e-5)
    assert sampled + shown.rest_sampled_prob == pytest.approx(1, abs=1e-5)
    assert 0 < shown.rest_prob < 1


def test_rest_draws_nothing_where_every_drawable_token_has_a_row() -> None:
    engine = tiny.engine()
    for k in range(1, 8):
        for length in range(1, len(PROMPT.ids) + 1):
            drawn = replace(FREE, top_k=k, temperature=0.7)
            shown = engine.next_distribution(PROMPT.ids[:length], drawn, top_n=7)
            assert shown.remaining <= 7
            assert shown.rest_sampled_prob == 0  # not what rounding leaves


def test_the_whole_ranking_can_be_paged_through() -> None:
    engine = tiny.engine()
    handle = engine.next_distribution(PROMPT.ids, FREE).handle
    pages = [
        engine.preview(handle, FREE, start=start, count=64)
        for start in range(0, len(tiny.tokenizer()), 64)
    ]
    rows = [c for page in pages for c in page.candidates]
    assert sorted(c.id for c in rows) == list(range(len(tiny.tokenizer())))
    assert rows == sorted(rows, key=lambda c: (-c.logprob, c.id))
    assert sum(c.prob for c in rows) == pytest.approx(1, abs=1e-5)


def test_preview_of_an_old_position_is_computed_again() -> None:
    engine = tiny.engine()
    first = engine.next_distribution(PROMPT.ids, SamplingSettings())
    run(engine, wanted=plain(max_tokens=100, seed=4))
    again = engine.preview(first.handle, SamplingSettings())
    assert again.handle == first.handle
    assert _rows(again) == _rows(first)
    with pytest.raises(KeyError):
        engine.preview(10**9, FREE)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_previews_between_two_tokens_do_not_change_the_answer(family: str) -> None:
    wanted = plain(seed=4, max_tokens=100)
    undisturbed, _ = run(tiny.engine(family), wanted=wanted)
    engine = tiny.engine(family)
    first = engine.next_distribution(PROMPT.ids, FREE)
    steps = []
    for item in engine.generate(PROMPT, wanted):
        engine.preview(first.handle, FREE)  # soon one that is computed again
        if isinstance(item, Step):
            steps.append(item)
    assert [step.id for step in steps] == [step.id for step in undisturbed]
    assert [step.logprob for step in steps] == pytest.approx(
        [step.logprob for step in undisturbed], abs=1e-4
    )
