"""Rows of which only some tokens are known: what is said of them is true of the whole
row, whatever the others are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from lmtui.engine.sampling.chain import SamplerChain, filter_logits
from lmtui.engine.sampling.listed_rows import (
    entropy_range,
    filled,
    is_certain,
    listed_count,
    listed_scores,
    only_listed,
    row_entropy,
)
from lmtui.engine.sampling.logits_store import StoredLogits
from lmtui.engine.sampling.stages import STAGES
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.models.remote.dialects import VLLM
from lmtui.partial import RankAbove

VOCABULARY, LISTED = 60, 15


def whole_row(seed: int) -> torch.Tensor:
    """Logprobs [V], float64, flat or sharp."""
    random = torch.Generator().manual_seed(seed)
    width = 0.3 + 4 * torch.rand(1, generator=random, dtype=torch.float64)
    logits = width * torch.randn(VOCABULARY, generator=random, dtype=torch.float64)
    return logits.log_softmax(-1)


def listed_row(whole: torch.Tensor) -> torch.Tensor:
    top = whole.topk(LISTED)
    return filled(top.indices.tolist(), top.values.tolist(), len(whole))


def settings_for(seed: int) -> SamplingSettings:
    random = torch.Generator().manual_seed(1000 + seed)
    chosen = torch.rand(4, generator=random).tolist()
    return SamplingSettings(
        temperature=(0.0, 0.4, 0.8, 1.0, 1.7)[seed % 5],
        top_k=(0, 5, 14, 30)[int(4 * chosen[0])],
        top_p=(1.0, 0.95, 0.7, 0.3)[int(4 * chosen[1])],
        min_p=(0.0, 0.02, 0.1, 0.3)[int(4 * chosen[2])],
    )


def drawn_from(logprobs: torch.Tensor, settings: SamplingSettings) -> dict[int, float]:
    """Probability of each token that can be drawn, from all logprobs [V]."""
    kept = filter_logits(logprobs, settings)
    return dict(zip(kept.ids.tolist(), kept.probs.tolist(), strict=True))


@pytest.mark.parametrize("order", [STAGES, VLLM.order])
def test_what_is_known_to_be_drawn_is_what_the_whole_row_gives(
    order: tuple[str, ...],
) -> None:
    known = unsure = 0
    for seed in range(400):
        whole = whole_row(seed)
        settings = replace(settings_for(seed), sampler_order=order)
        position = StoredLogits(listed_row(whole), top_logprobs=LISTED)
        look = position.view(SamplerChain(settings))
        if not look.is_certain:
            unsure += 1
            continue
        known += 1
        told = look.sampled
        found = dict(zip(told.ids.tolist(), told.probs.tolist(), strict=True))
        assert found == pytest.approx(drawn_from(whole.float(), settings), abs=1e-6)
    assert known > 200 and unsure > 20


def test_stage_that_needs_all_tokens_is_not_known_to_draw() -> None:
    row, settings = listed_row(whole_row(3)), replace(settings_for(1), top_k=5)
    assert is_certain(row, settings)
    for changed in (
        {"repetition_penalty": 1.2},
        {"typical_p": 0.9},
        {"logit_bias": ("a=1",)},
        {"grammar": "/a/"},
    ):
        assert not is_certain(row, replace(settings, **changed))  # type: ignore[arg-type]


def test_entropy_lies_in_its_range_and_scores_are_those_of_the_row() -> None:
    for seed in range(100):
        whole = whole_row(seed)
        row = listed_row(whole)
        true = float(-(whole.exp() * whole).sum())
        least, most = row_entropy(row)
        assert least - 1e-5 <= true <= most + 1e-5
        top = sorted(whole.tolist(), reverse=True)[:LISTED]
        assert entropy_range(top, math.inf)[1] == math.inf
        order = whole.argsort(descending=True).tolist()
        known, unknown = order[seed % LISTED], order[LISTED]
        found, other = listed_scores(torch.stack([row, row]), [known, unknown])
        assert found[0] == pytest.approx(float(whole[known]), abs=1e-5)
        assert found[1:] == (1 + seed % LISTED, (least, most))
        assert other == (None, RankAbove(LISTED), (least, most))
        assert listed_count(row) == LISTED
        only = only_listed(row)
        assert int(only.isfinite().sum()) == LISTED


def test_listed_tokens_that_are_impossible_leave_nothing_for_the_rest() -> None:
    row = filled([3, 4, 5], [-0.0001, -9.5, -math.inf], VOCABULARY)
    least, most = row_entropy(row)
    assert 0 <= least == most < 0.01
