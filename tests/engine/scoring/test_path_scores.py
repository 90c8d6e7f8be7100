"""Scores of several paths after one context: those of each path read alone."""

from __future__ import annotations

from itertools import count

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.scoring import path_scores
from lmtui.engine.scoring.path_scores import PathScore, reads_trees, score_paths
from lmtui.errors import Cancelled
from tests.engine import test_families, tiny

CONTEXT = [3 + (7 * i * i + i) % 200 for i in range(30)]
PATHS = st.lists(st.lists(st.integers(3, 60), min_size=1, max_size=6), max_size=8)


def scored(cache: PrefixCache, paths: list[list[int]]) -> list[PathScore]:
    parts = score_paths(cache, paths)
    return [score for part in parts for score in part]


@torch.inference_mode()
def check(cache: PrefixCache, paths: list[list[int]]) -> None:
    """Compare with one forward pass over the context and each path."""
    model = cache.backend.model  # type: ignore[attr-defined]
    for path, score in zip(paths, scored(cache, paths), strict=True):
        whole = model(torch.tensor([[*CONTEXT, *path]])).logits[0].float()
        rows = whole.double().log_softmax(-1)[len(CONTEXT) - 1 :]
        own = rows[range(len(path)), path].tolist()
        assert list(score.logprobs) == pytest.approx(own, abs=5e-4)
        assert torch.allclose(score.after.double(), rows[-1], atol=5e-4)
    assert cache.ids == CONTEXT


def opened(family: str) -> PrefixCache:
    cache = PrefixCache(TransformersBackend(test_families.model(family)))
    cache.read(CONTEXT)
    return cache


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@settings(max_examples=15)
@given(paths=PATHS)
def test_path_scores_equal_those_of_each_path_alone(
    family: str, paths: list[list[int]]
) -> None:
    cache = PrefixCache(TransformersBackend(tiny.model(family)))
    cache.read(CONTEXT)
    assert reads_trees(cache) == (family == "llama")
    check(cache, paths)


def test_paths_are_scored_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path_scores, "TREE_TOKENS", 4)
    cache = PrefixCache(TransformersBackend(tiny.model("llama")))
    cache.read(CONTEXT)
    paths = [[5, 6], [5], [7, 8, 9, 4, 6], [5, 6, 7]]
    parts = score_paths(cache, paths)
    assert [len(part) for part in parts] == [2, 1, 1]
    check(cache, paths)


def test_model_that_cannot_fork_scores_paths_one_by_one() -> None:
    cache = opened("mamba")
    assert not reads_trees(cache)
    check(cache, [[5, 6], [5], [7, 8, 9]])


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_path_scores_can_be_cancelled(patience: int) -> None:
    cache, asked = PrefixCache(TransformersBackend(tiny.model("llama"))), count()
    cache.read(CONTEXT)
    with pytest.raises(Cancelled), cancelled_when(lambda: next(asked) >= patience):
        list(score_paths(cache, [[5, 6]]))
    check(cache, [[5, 6]])
