"""The fake engine keeps the port's promises, so that what is tested on it holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ChatTurn,
    Distribution,
    FinishReason,
    GenerationResult,
    Step,
)
from lmtui.errors import Cancelled, LmtuiError
from tests.fakes import FakeEngine

SAMPLING = st.builds(
    SamplingSettings,
    temperature=st.sampled_from([0, 0.3, 1, 2]),
    top_k=st.sampled_from([0, 1, 40]),
    top_p=st.sampled_from([0, 0.5, 1]),
    min_p=st.sampled_from([0, 0.1, 1]),
)


def generate(
    engine: Engine, sampling: SamplingSettings, top_n: int = 20
) -> tuple[tuple[int, ...], list[Step], GenerationResult]:
    """A whole answer to "hi": the prompt's ids, the steps, the end."""
    prompt = engine.prompt([ChatTurn("user", "hi")])
    *steps, finish = engine.generate(prompt, sampling, top_n=top_n)
    assert isinstance(finish, GenerationResult)
    return prompt.ids, [step for step in steps if isinstance(step, Step)], finish


def assert_consistent(shown: Distribution) -> None:
    """Rows and rest are a distribution, before and after the sampler."""
    probs = [row.prob for row in shown.candidates]
    sampled = [row.sampled_prob or 0.0 for row in shown.candidates]
    assert math.fsum(probs) + shown.rest_prob == pytest.approx(1)
    assert math.fsum(sampled) + shown.rest_sampled_prob == pytest.approx(1)
    for row in shown.candidates:
        assert (row.sampled_prob == 0) == (row.cut is not None)
    assert probs == sorted(probs, reverse=True)


@settings(max_examples=25, deadline=None)
@given(SAMPLING)
def test_distributions_and_totals_are_consistent(sampling: SamplingSettings) -> None:
    engine: Engine = FakeEngine(["It is Zürich 🏔."])
    ids, steps, finish = generate(engine, sampling)
    for step in steps:
        assert_consistent(step.distribution)
    assert "".join(step.piece for step in steps) + finish.piece == "It is Zürich 🏔."
    assert finish.logprob == pytest.approx(math.fsum(s.logprob for s in steps))
    assert (finish.tokens, finish.reason) == (len(steps), FinishReason.STOP)
    scored = list(engine.score([step.id for step in steps], prefix=ids))
    assert [s.logprob for s in scored] == [s.logprob for s in steps]
    assert [s.rank for s in scored] == [s.rank for s in steps]


def test_preview_pages_through_the_whole_vocabulary() -> None:
    engine = FakeEngine(["a b"])
    shown = engine.next_distribution(b"hello", SamplingSettings(), top_n=5)
    whole = engine.preview(shown.handle, SamplingSettings(), count=shown.vocabulary)
    assert whole.candidates[:5] == shown.candidates
    assert whole.rest_prob == pytest.approx(0)
    assert {row.id for row in whole.candidates} == set(range(shown.vocabulary))
    with pytest.raises(KeyError):
        engine.preview(99, SamplingSettings())


def test_fake_engine_stops_when_asked_and_refuses_long_prompts() -> None:
    engine = FakeEngine(["a b c", "a b c"], context=64)
    prompt = engine.prompt([ChatTurn("user", "hi")])
    with cancelled_when(lambda: True):
        ended = list(engine.generate(prompt, SamplingSettings()))
    assert isinstance(ended[0], GenerationResult)
    assert ended[0].reason is FinishReason.CANCELLED
    assert ended[0].perplexity is None
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        list(engine.score(b"abc"))
    with pytest.raises(LmtuiError):
        engine.generate(engine.prompt([ChatTurn("user", "x" * 99)]), SamplingSettings())
