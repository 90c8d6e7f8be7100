"""Scores of prompts: those of a text, whatever else runs, and what follows them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.cuda_graph import CudaGraphBackend
from lmtui.engine.engine import LocalEngine
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.scoring.prompt_scores import score_prompts
from lmtui.engine.types import (
    GenerationResult,
    Prompt,
    ScoredPrompt,
    Step,
)
from lmtui.errors import Cancelled
from tests.engine import tiny

GREEDY = SamplingSettings(temperature=0, max_tokens=8)
IDS = [3 + (7 * i * i + i) % 200 for i in range(60)]
prompts = st.lists(st.lists(st.integers(3, 200), min_size=1, max_size=12), min_size=1,
                   max_size=5)  # fmt: skip


def scored(engine: LocalEngine, *given: list[int], **how: Any) -> list[ScoredPrompt]:
    found = engine.score_prompts(given, GREEDY, **how)
    return [each for each in found if each is not None]


def steps(engine: LocalEngine, ids: list[int], **how: Any) -> list[Step]:
    items = engine.generate(Prompt(tuple(ids), ""), GREEDY, **how)
    return [item for item in items if isinstance(item, Step)]


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("chunk", [7, 512])
def test_prompt_alone_has_the_scores_of_a_text(family: str, chunk: int) -> None:
    engine = tiny.engine(family)
    engine.backend.prefill_chunk = chunk  # type: ignore[misc]
    (found,) = scored(engine, IDS, top_n=3)
    expected = list(engine.score(IDS, top_n=3, window=len(IDS)))
    assert [token.id for token in found.tokens] == IDS
    for own, token in zip(found.tokens, expected, strict=True):
        assert own.logprob == pytest.approx(token.logprob, abs=1e-4)
        assert [each.id for each in own.top] == [each.id for each in token.top]


@pytest.mark.parametrize("family", tiny.FAMILIES)
@settings(max_examples=8)
@given(given=prompts)
def test_prompts_together_have_the_scores_of_each_alone(
    family: str, given: list[list[int]]
) -> None:
    engine = tiny.engine(family)
    together = scored(engine, *given, top_n=2)
    for ids, found in zip(given, together, strict=True):
        (alone,) = scored(engine, ids, top_n=2)
        for one, other in zip(found.tokens, alone.tokens, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert one.varentropy == pytest.approx(other.varentropy, abs=1e-4)
        ours, theirs = found.following, alone.following
        assert ours.entropy == pytest.approx(theirs.entropy, abs=1e-4)
        assert ours.varentropy == pytest.approx(theirs.varentropy, abs=1e-4)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_answer_after_known_logits_is_that_after_the_prompt(family: str) -> None:
    engine = tiny.engine(family)
    expected = steps(engine, IDS)
    for batch in ([IDS], [IDS, IDS[:9]]):
        found = scored(engine, *batch)[0]
        engine.cache.reset()
        again = steps(engine, IDS, after=found.following.handle)
        assert [step.id for step in again] == [step.id for step in expected]
        for one, other in zip(again, expected, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_prompts_together_are_scored_over_a_cache_that_stays_where_it_is() -> None:
    engine = tiny.engine()
    expected = scored(engine, IDS, IDS[:9])
    cache = PrefixCache(CudaGraphBackend(tiny.model(), records=False))
    found = score_prompts(cache, [IDS, IDS[:9]], window=512, top_n=0)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        own = [row.logprob for row in one.rows][1:]
        assert own == pytest.approx([t.logprob for t in other.tokens][1:], abs=1e-4)


def test_score_of_a_prompt_can_be_stopped_between_its_parts() -> None:
    engine = tiny.engine()
    engine.backend.prefill_chunk = 8  # type: ignore[misc]
    asked = iter([False] * 5 + [True] * 99)
    with pytest.raises(Cancelled), cancelled_when(lambda: next(asked)):
        scored(engine, IDS)


def test_slots_keep_their_own_prompts() -> None:
    engine = LocalEngine(tiny.loaded(), slots=2)
    assert list(engine.prefill(IDS, slot=1)) == [0]
    assert engine.reusable([*IDS[:30], 1], slot=1) == 30
    assert engine.reusable(IDS, slot=0) == 0
    *_, result = engine.generate(Prompt(tuple(IDS), ""), GREEDY, slot=1)
    assert isinstance(result, GenerationResult)
    assert result.reused_tokens == len(IDS)


def test_bias_changes_what_is_drawn_and_no_number() -> None:
    engine = tiny.engine()
    free = steps(engine, IDS)[0]
    other = free.distribution.candidates[5]
    (forced, *_) = steps(engine, IDS, logit_bias={other.id: 100.0})
    assert (forced.id, forced.sampled_prob) == (other.id, 1.0)
    assert forced.logprob == pytest.approx(other.logprob, abs=1e-4)
    assert forced.rank == 6
    assert forced.entropy == pytest.approx(free.entropy, abs=1e-4)
    (banned, *_) = steps(engine, IDS, logit_bias={free.id: -100.0})
    assert banned.id == free.distribution.candidates[1].id
    # The panel's numbers are made anew with the bias.
    again = engine.preview(forced.distribution.handle, GREEDY)
    assert again.candidates[5].sampled_prob == 1.0
