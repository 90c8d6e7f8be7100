"""The engine's verbs for a text that is being written, put together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    GenerationResult,
    Step,
)
from tests.engine import tiny
from tests.engine.document import test_fill_in_the_middle as test_infill
from tests.engine.test_prefix_cache import counted

TEXT = "The quick brown fox jumps over the lazy dog.\nThe cat sat on the mat. " * 3
GREEDY = SamplingSettings(temperature=0, max_tokens=6)
RULES = SuggestionRules(min_prob=None, seconds=None)


def gone_on(
    engine: LocalEngine, text: str, cursor: int, **how: Any
) -> tuple[list[Step], GenerationResult]:
    *steps, finish = engine.document.complete(text, cursor, GREEDY, **how)
    assert isinstance(finish, GenerationResult)
    return steps, finish  # type: ignore[return-value]


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@given(cursor=st.integers(1, len(TEXT)))
@settings(max_examples=8)
def test_first_completion_step_equals_the_first_predicted_row(
    family: str, cursor: int
) -> None:
    engine = tiny.engine(family, context=64)
    expectation = engine.document.predict_at(TEXT, cursor, top_n=5)
    assert expectation.distribution
    first = expectation.distribution.candidates[0]
    steps, _ = gone_on(engine, TEXT, cursor)
    fresh, _ = gone_on(tiny.engine(family, context=64), TEXT, cursor)
    assert [step.bytes for step in steps] == [step.bytes for step in fresh]
    spot = engine.document.predictor.scorer.scored_cursor(cursor)
    read = engine.document.completion_context(TEXT, cursor, GREEDY)
    if read.ids == (*spot.context, *spot.typed):
        assert (steps[0].id, steps[0].bytes) == (first.id, first.bytes)
        assert steps[0].logprob == pytest.approx(first.logprob, abs=1e-4)
        assert steps[0].entropy == pytest.approx(
            expectation.distribution.entropy, abs=1e-3
        )


def test_completion_reuses_what_predict_at_computed() -> None:
    engine = tiny.engine()
    engine.document.predict_at(TEXT, 49)
    with counted(tiny.model()) as lengths:
        first = next(iter(engine.document.complete(TEXT, 49, GREEDY)))
    assert isinstance(first, Step)
    assert lengths == []
    with counted(tiny.model()) as lengths:
        _, finish = gone_on(engine, TEXT, 49)
    assert sum(lengths) <= 6 + 2
    assert finish.reused_tokens == finish.prompt_tokens


def test_engine_with_infill_reads_both_sides() -> None:
    assert not tiny.engine().capabilities.infill
    tokenizer = test_infill.tokenizer("qwen")
    loaded = replace(tiny.loaded(), tokenizer=tokenizer)
    engine, text = LocalEngine(loaded), "one two thr\nfour"
    assert engine.capabilities.infill
    read = engine.document.completion_context(text, 11, GREEDY)
    assert (read.infilled, read.typed) == (True, b" thr")
    assert tokenizer.decode(read.ids) == (
        "<|fim_prefix|>one two<|fim_suffix|>\nfour<|fim_middle|>"
    )
    assert not engine.document.completion_context(text, len(text), GREEDY).infilled
