"""Handles of looked-at positions: no two engines ever give out the same one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmtui.engine.sampling.chain import DrawConditions, SamplerChain
from lmtui.engine.sampling.logits_store import LogitsStore, StoredLogits
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.token_ids import Ids, ids_array


def recomputed(context: Ids) -> Tensor:
    """Nothing is made again here."""
    raise AssertionError(context)


def test_handle_of_another_logits_store_is_unknown() -> None:
    conditions = DrawConditions(ids_array([1, 2]))
    first, second = LogitsStore(recomputed), LogitsStore(recomputed)
    handles = [
        engine.add(torch.zeros(4), conditions).handle
        for engine in (first, second, first, second)
    ]
    assert len(set(handles)) == 4
    assert first.get(handles[0]).handle == handles[0]
    for engine, foreign in ((first, handles[1]), (second, handles[2])):
        with pytest.raises(KeyError):
            engine.get(foreign)


@given(
    seed=st.integers(0, 1000),
    token=st.integers(0, 99),
    top_k=st.integers(0, 20),
    penalty=st.sampled_from([1.0, 1.5]),
    count=st.integers(1, 100),
)
def test_rank_counts_the_greater_logits(
    seed: int, token: int, top_k: int, penalty: float, count: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(100, generator=generator).mul(3).round()
    position = StoredLogits(logits, DrawConditions(ids_array([1, 2, 3])))
    wanted = SamplingSettings(top_k=top_k, repetition_penalty=penalty)
    look = position.view(SamplerChain(wanted), count)
    for place, kept in enumerate(look.sampled.ids.tolist()):
        greater = sum(value > logits[kept] for value in logits)
        assert position.rank(place, look) == 1 + greater
    rows = position.rows(torch.tensor([token, 0]), look.sampled)
    greater = sum(value > logits[token] for value in logits)
    assert position.ranks(rows)[0] == 1 + greater
