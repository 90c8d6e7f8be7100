"""Answers that share a prompt: together they are what each would be alone."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.generation import generate
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.types import Step
from lmtui.errors import Cancelled
from tests.engine import test_families, tiny
from tests.engine.growing import answer, grown, ids_of
from tests.engine.test_prefix_cache import assert_follows, counted

CONTEXT = [3 + (7 * i * i + i) % 200 for i in range(40)]
BEGINS = [[5], [9], [7, 8, 6], [11], [12, 13]]
ALONE = {"mamba", "rwkv"}  # their state can't be repeated


def opened(model: Any) -> tuple[TransformersBackend, PrefixCache]:
    forward = TransformersBackend(model)
    cache = PrefixCache(forward)
    cache.read(CONTEXT)
    return forward, cache


@torch.inference_mode()
def naive(model: Any, begin: list[int], more: int) -> tuple[list[int], list[float]]:
    """One branch in the slowest way: the whole text again for every token."""
    ids, logprobs = list(CONTEXT), []
    for index in range(len(begin) + more):
        logits = model(torch.tensor([ids])).logits[0, -1]
        token = begin[index] if index < len(begin) else int(logits.argmax())
        logprobs.append(float(logits.double().log_softmax(-1)[token]))
        ids.append(token)
    return ids[len(CONTEXT) :], logprobs


@pytest.mark.parametrize("family", test_families.FAMILIES)
def test_rows_equal_each_alone(family: str) -> None:
    model = test_families.model(family)
    _, cache = opened(model)
    assert (cache.fork(2) is None) == (family in ALONE)
    begins = BEGINS[:3]
    for steps, begin in zip(grown(cache, CONTEXT, begins, 4), begins, strict=True):
        ids, logprobs = naive(model, begin, 4)
        assert ids_of(steps) == ids
        assert [s.logprob for s in steps] == pytest.approx(logprobs, abs=1e-4)
        assert all(step.rank == 1 for step in steps[len(begin) :])
    cache.read(CONTEXT)
    assert_follows(cache, test_families.naive(family, CONTEXT)[-1])


def _batches(
    forward: TransformersBackend, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """The number of rows of each step, as they come."""
    sizes: list[int] = []
    run = forward.next_logits

    def note(tokens: list[int], *rest: Any, **how: Any) -> Any:
        sizes.append(len(tokens))
        return run(tokens, *rest, **how)

    monkeypatch.setattr(forward, "next_logits", note)
    return sizes


def test_rows_are_split_only_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward, cache = opened(tiny.model("llama"))
    together = grown(cache, CONTEXT, BEGINS, 3)
    monkeypatch.setattr(generate, "_BATCH_BYTES", 2 * cache.row_bytes)
    sizes = _batches(forward, monkeypatch)
    apart = grown(cache, CONTEXT, BEGINS, 3)
    assert set(sizes) == {1, 2}
    assert list(map(ids_of, apart)) == list(map(ids_of, together))


def test_a_row_that_is_stopped_leaves_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward, cache = opened(tiny.model("llama"))
    free = list(map(ids_of, grown(cache, CONTEXT, BEGINS, 8)))
    answers = [answer(begin, 8) for begin in BEGINS]
    seen: list[list[int]] = [[] for _ in BEGINS]
    sizes = _batches(forward, monkeypatch)
    for index, item in generate.generate_rows(cache, answers, CONTEXT):
        if isinstance(item, Step):
            seen[index].append(item.id)
            limit = len(BEGINS[index]) + index + 2
            answers[index].is_stopped = len(seen[index]) == limit
    for index, (ids, whole) in enumerate(zip(seen, free, strict=True)):
        assert ids == whole[: len(BEGINS[index]) + index + 2]
    assert [len(ids) for ids in seen] == [3, 4, 7, 6, 8]
    assert sizes == [5, 5, 4, 3, 3, 2, 1]


@pytest.mark.parametrize("patience", [0, 3, 9])
@pytest.mark.parametrize("family", ["mistral", "lfm2"])
def test_rows_can_be_cancelled_within_one_token(family: str, patience: int) -> None:
    model = test_families.model(family)
    _, cache = opened(model)
    asked = count()
    with (
        counted(model) as lengths,
        pytest.raises(Cancelled),
        cancelled_when(lambda: next(asked) >= patience),
    ):
        grown(cache, CONTEXT, BEGINS, 9)
    assert len(lengths) <= patience
    assert next(asked) <= patience + 2
    cache.read(CONTEXT)
    assert_follows(cache, test_families.naive(family, CONTEXT)[-1])
