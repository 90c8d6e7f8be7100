"""Beam search beside exhaustive search and greedy decoding, and loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Prompt,
    Step,
)
from lmtui.learn.beam import Hypothesis, beam_search
from lmtui.learn.loops import find_loop
from tests.engine import tiny


def ids_of(engine: LocalEngine, text: str) -> list[int]:
    return list(engine.encode(text).ids)


def last(
    engine: LocalEngine, ids: Sequence[int], width: int, count: int
) -> tuple[Hypothesis, ...]:
    *_, beam = beam_search(engine, ids, width=width, count=count)
    return beam


def reference(ids: Sequence[int], more: Sequence[int]) -> list[float]:
    """Log-probabilities of tokens after a context, the naive way."""
    rows = tiny.reference_logprobs("llama", [*ids, *more])[len(ids) - 1 :]
    return [float(rows[n, token]) for n, token in enumerate(more)]


def test_numbers_are_those_of_the_model(engine: LocalEngine) -> None:
    ids = ids_of(engine, "the cat sat")
    for hypothesis in last(engine, ids, width=4, count=6):
        wanted = reference(ids, hypothesis.ids)
        assert hypothesis.logprobs == pytest.approx(wanted, abs=1e-4)
        assert hypothesis.total == math.fsum(hypothesis.logprobs)


def test_width_of_the_vocabulary_finds_the_most_probable_pair(
    engine: LocalEngine,
) -> None:
    ids, size = ids_of(engine, "the dog"), engine.info.vocabulary
    best = last(engine, ids, width=size, count=2)[0]
    first = tiny.reference_logprobs("llama", ids)[-1]
    with torch.inference_mode():
        rows = tiny.model()(torch.tensor([[*ids, token] for token in range(size)]))
        pairs = rows.logits[:, -1].log_softmax(-1)
    sums = first[:, None] + pairs  # [V, V]
    # An ended text has no second token.
    for end in engine.info.end_ids:
        sums[end] = -math.inf
        sums[end, 0] = first[end]
    assert best.total == pytest.approx(float(sums.max()), abs=1e-4)


@pytest.mark.parametrize("text", ["the cat sat", "def f(x):", "jumps over"])
def test_width_one_is_greedy_decoding(engine: LocalEngine, text: str) -> None:
    ids = ids_of(engine, text)
    greedy = SamplingSettings(temperature=0, max_tokens=12)
    steps = engine.generate(Prompt(tuple(ids), text), greedy)
    tokens = [step.id for step in steps if isinstance(step, Step)]
    assert list(last(engine, ids, width=1, count=12)[0].ids) == tokens


def test_beam_is_sorted_of_different_texts_and_no_worse_than_each_step(
    engine: LocalEngine,
) -> None:
    ids = ids_of(engine, "the quick")
    for number, beam in enumerate(beam_search(engine, ids, width=4, count=5), 1):
        totals = [hypothesis.total for hypothesis in beam]
        assert totals == sorted(totals, reverse=True)
        assert len({hypothesis.ids for hypothesis in beam}) == len(beam) == 4
        assert all(len(hypothesis.ids) == number for hypothesis in beam)


def test_ended_hypotheses_stay_as_they_are(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = ids_of(engine, "the cat sat")
    first = last(engine, ids, width=1, count=1)[0].ids[0]
    info = replace(engine.info, end_ids=(first,))
    monkeypatch.setattr(engine, "info", info)
    beams = list(beam_search(engine, ids, width=1, count=5))
    assert [beam[0].ids for beam in beams] == [(first,)]


@given(
    st.lists(st.integers(0, 50), max_size=20),
    st.lists(st.integers(100, 103), min_size=1, max_size=9),
    st.integers(2, 6),
    st.integers(0, 8),
)
def test_loop_is_found_with_its_exact_period(
    before: list[int], part: list[int], times: int, more: int
) -> None:
    ids = before + part * times + part[: min(more, len(part))]
    covered = len(ids) - len(before)
    found = find_loop(ids)
    if covered < 12:
        assert found is None
        return
    assert found is not None
    assert found.covered >= covered
    assert len(part) % found.period == 0 or found.period < len(part)
    start = len(ids) - found.covered
    assert all(
        ids[n] == ids[n + found.period] for n in range(start, len(ids) - found.period)
    )
    # No shorter period covers as much, and none at all covers more.
    for period in range(1, len(ids) // 2 + 1):
        at = len(ids) - period
        while at > 0 and ids[at - 1] == ids[at - 1 + period]:
            at -= 1
        assert len(ids) - at <= found.covered or (len(ids) - at) // period < 2
        if period < found.period:
            assert len(ids) - at < found.covered
