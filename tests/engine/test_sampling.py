"""The sampler is what it says it is: order, ties, marks and frequencies."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from lmtui.engine.sampling.chain import filter_logits
from lmtui.engine.sampling.draw import draw, draw_many
from lmtui.engine.sampling.ranks import entropy, rank
from lmtui.engine.sampling.stages import STAGES
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError

SIZE = 300
ALL_OFF = SamplingSettings(temperature=1, top_k=0, top_p=1, min_p=0)


def random_logits(seed: int, size: int = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, generator=generator) * 3


in_any_order = st.builds(
    SamplingSettings,
    temperature=st.floats(0.1, 3),
    top_k=st.integers(0, 2 * SIZE),
    top_p=st.floats(0.05, 1),
    min_p=st.one_of(st.just(0.0), st.floats(0.001, 0.9)),
    typical_p=st.one_of(st.just(1.0), st.floats(0.05, 0.99)),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.8]),
    sampler_order=st.one_of(st.just(STAGES), st.permutations(STAGES).map(tuple)),
)


def transformers_probs(
    logits: Tensor, wanted: SamplingSettings, context: Tensor
) -> Tensor:
    """The same chain, by the library's own processors. float32 [V]"""
    processors: dict[str, LogitsProcessor] = {
        "penalties": RepetitionPenaltyLogitsProcessor(wanted.repetition_penalty),
        "temperature": TemperatureLogitsWarper(wanted.temperature),
        "top_p": TopPLogitsWarper(wanted.top_p),
        "min_p": MinPLogitsWarper(wanted.min_p),
    }
    if wanted.top_k:
        processors["top_k"] = TopKLogitsWarper(wanted.top_k)
    if wanted.typical_p < 1:
        processors["typical_p"] = TypicalLogitsWarper(wanted.typical_p)
    chain = LogitsProcessorList(
        [processors[stage] for stage in wanted.sampler_order if stage in processors]
    )
    return chain(context.unsqueeze(0), logits.unsqueeze(0))[0].softmax(-1)


@given(seed=st.integers(0, 10_000), wanted=in_any_order)
@example(seed=0, wanted=replace(ALL_OFF, temperature=0.25, top_p=0.9999999999999999))
def test_filter_logits_agrees_with_transformers(
    seed: int, wanted: SamplingSettings
) -> None:
    logits = random_logits(seed)
    context = torch.tensor([3, 5, 5, 7])
    kept = filter_logits(logits, wanted, context.tolist())
    ours = kept.prob(torch.arange(SIZE)).float()
    theirs = transformers_probs(logits, wanted, context)
    # A token whose mass reaches top-p to the last bit may fall on either side, and so
    # may any number whose mass is less than the rounding of a sum near 1.
    edge = (ours > 0) != (theirs > 0)
    mass = (ours[edge] + theirs[edge]).sum()
    assert edge.sum() <= 1 or mass < 1e-6
    torch.testing.assert_close(
        ours, theirs, atol=2e-6 if mass < 1e-6 else 0.1, rtol=1e-4
    )


@pytest.mark.parametrize(
    "wanted", [ALL_OFF, SamplingSettings(temperature=1.5, top_k=0, top_p=0.9, min_p=0)]
)
def test_drawn_frequencies_match_the_probabilities(wanted: SamplingSettings) -> None:
    kept = filter_logits(random_logits(1, 60), wanted)
    generator = torch.Generator().manual_seed(0)
    draws = 20_000
    counts = torch.bincount(kept.ids[draw_many(kept, generator, draws)], minlength=60)
    expected = kept.prob(torch.arange(60)) * draws
    assert counts[expected == 0].sum() == 0
    common = expected >= 5
    observed = [*counts[common].tolist(), float(counts[~common].sum())]
    wanted_counts = [*expected[common].tolist(), float(expected[~common].sum())]
    if wanted_counts[-1] == 0:
        observed.pop(), wanted_counts.pop()
    assert chisquare(observed, wanted_counts, sum_check=False).pvalue > 1e-3


@given(
    values=st.lists(st.integers(0, 3), min_size=1, max_size=200),
    count=st.integers(1, 250),
)
def test_equal_logits_rank_by_id(values: list[int], count: int) -> None:
    logits = torch.tensor(values, dtype=torch.float32)
    expected = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    ids, ranked = rank(logits, min(count, len(values)))
    assert ids.tolist() == expected
    assert ranked.tolist() == [values[i] for i in expected]


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(2000, 6000),
    levels=st.sampled_from([2, 30, 5000, 10**6]),
    share=st.floats(0, 1),
)
def test_top_ranks_of_a_large_vocabulary_equal_a_full_sort(
    seed: int, size: int, levels: int, share: float
) -> None:
    logits = (random_logits(seed, size) * levels).round() / levels
    logits[
        torch.rand(size, generator=torch.Generator().manual_seed(seed)) < share
    ] = -torch.inf
    everything = logits.sort(descending=True, stable=True)
    for count in (1, 2, size // 600, size // 512 - 1, size // 100):
        ids, values = rank(logits, count)
        assert torch.equal(ids, everything.indices[:count])
        assert torch.equal(values, everything.values[:count])


@given(
    rows=st.lists(
        st.lists(st.integers(0, 40), min_size=30, max_size=30), min_size=1, max_size=5
    ),
    count=st.integers(1, 8),
)
def test_several_rows_rank_as_one_by_one(rows: list[list[int]], count: int) -> None:
    logits = torch.tensor(rows, dtype=torch.float32)
    ids, ranked = rank(logits, count)
    for row, found, values in zip(logits, ids, ranked, strict=True):
        assert found.tolist() == rank(row, count)[0].tolist()
        assert values.tolist() == rank(row, count)[1].tolist()


def test_impossible_tokens_add_nothing_to_the_entropy() -> None:
    logprobs = torch.tensor([[0.5, 0.5, 0, 0], [1, 0, 0, 0]]).log()
    expected = [math.log(2), 0]
    assert entropy(logprobs).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-45, 100.0])
@pytest.mark.parametrize("changes", [{}, {"top_k": 5}, {"top_p": 0.9, "min_p": 0.1}])
def test_extreme_temperatures_give_a_distribution(
    temperature: float, changes: dict[str, float]
) -> None:
    wanted = replace(ALL_OFF, temperature=temperature, **changes)  # type: ignore[arg-type]
    logits = random_logits(1, 5_000)
    logits[:2] = logits.max() + 1
    kept = filter_logits(logits, wanted)
    assert float(kept.probs.sum()) == pytest.approx(1)
    assert draw(kept, torch.Generator().manual_seed(1)) < len(kept)
    if temperature < 1:
        assert kept.prob(torch.tensor([0, 1])).tolist() == [0.5, 0.5]


def test_temperature_zero_is_the_first_argmax() -> None:
    logits = torch.tensor([0.0, 2.0, 1.0, 2.0])
    kept = filter_logits(logits, SamplingSettings(temperature=0, top_k=0))
    place = draw(kept, torch.Generator())
    assert (int(kept.ids[place]), float(kept.probs[place])) == (1, 1.0)
    assert kept.cuts(torch.arange(4), kept.logits) == ["g", None, "g", "g"]


def test_top_p_of_a_large_vocabulary_equals_a_full_sort() -> None:
    logits = random_logits(3, 20_000) / 3
    wanted = SamplingSettings(temperature=1, top_k=0, top_p=0.9, min_p=0)
    kept = filter_logits(logits, wanted)
    ordered = logits.double().softmax(0).sort(descending=True, stable=True)
    before = ordered.values.cumsum(0) - ordered.values
    assert kept.ids.tolist() == ordered.indices[before < 0.9].tolist()


@pytest.mark.parametrize(
    ("bad", "hint"),
    [
        ({"temperature": float("nan")}, "Give a value from 0 to 100."),
        ({"repetition_penalty": 0.0}, "Give a value from 0.01 to 100."),
        ({"seed": -5}, "Give a value from 0 to 9,223,372,036,854,775,807."),
    ],
)
def test_settings_out_of_range_say_what_is_allowed(
    bad: dict[str, float], hint: str
) -> None:
    with pytest.raises(LmtuiError) as caught:
        SamplingSettings(**bad)  # type: ignore[arg-type]
    assert "out of range" in caught.value.title
    assert caught.value.hint == hint
