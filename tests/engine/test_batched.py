"""Branches: side by side they are what each would be alone."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
import torch

from lmtui.cancellation import cancelled_when
from lmtui.engine import batched
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.batched import MOST, Continuation, decode_batch
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.score import TokenScore
from lmtui.errors import Cancelled
from tests.engine import test_families, tiny
from tests.engine.test_prefix_cache import counted

CONTEXT = [3 + (7 * i * i + i) % 200 for i in range(40)]
BEGINS = [[5], [9], [7, 8, 6], [11], [12, 13]]
ALONE = {"lfm2", "mamba2", "mamba", "rwkv"}  # their state can't be repeated


def opened(model: Any) -> tuple[TransformersBackend, PrefixCache]:
    forward = TransformersBackend(model)
    cache = PrefixCache(forward)
    cache.read(CONTEXT)
    return forward, cache


@torch.inference_mode()
def naive(model: Any, begin: list[int], more: int) -> tuple[list[int], list[float]]:
    """One branch in the slowest way: the whole text again for every token."""
    ids, logprobs = list(CONTEXT), []
    device = model.device
    for index in range(len(begin) + more):
        logits = model(torch.tensor([ids], device=device)).logits[0, -1].float().cpu()
        token = begin[index] if index < len(begin) else int(logits.argmax())
        logprobs.append(float(logits.double().log_softmax(-1)[token]))
        ids.append(token)
    return ids[len(CONTEXT) :], logprobs


def check(
    model: Any, grown: list[Continuation], begins: list[list[int]], more: int
) -> None:
    for branch, begin in zip(grown, begins, strict=True):
        ids, logprobs = naive(model, begin, more)
        assert list(branch.ids) == ids
        assert [r.logprob for r in branch.rows] == pytest.approx(logprobs, abs=1e-4)
        assert all(row.rank == 1 for row in branch.rows[len(begin) :])


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_decode_batch_branches_equal_each_alone(family: str, device: str) -> None:
    model = tiny.model(family, device)
    forward, cache = opened(model)
    check(model, decode_batch(forward, cache, BEGINS, max_new_tokens=20), BEGINS, 20)


@pytest.mark.parametrize("family", test_families.FAMILIES)
def test_decode_batch_handles_unusual_architectures(family: str) -> None:
    model = test_families.model(family)
    forward, cache = opened(model)
    assert (cache.fork(2) is None) == (family in ALONE)
    check(model, decode_batch(forward, cache, BEGINS, max_new_tokens=6), BEGINS, 6)
    expected = test_families.naive(family, CONTEXT)[-1]
    cache.read(CONTEXT)
    assert cache.logits is not None
    test_families.close(cache.logits.double().log_softmax(-1), expected)


def test_decode_batch_does_not_rerun_the_context() -> None:
    model = tiny.model("llama")
    forward, cache = opened(model)
    assert cache.logits is not None
    before = cache.logits.clone()
    with counted(model) as lengths:
        decode_batch(forward, cache, BEGINS[:2], max_new_tokens=4)
        assert cache.read([*CONTEXT, 9]) == len(CONTEXT)
    assert lengths == [1] * 4 + [1]
    assert cache.read(CONTEXT) == len(CONTEXT) - 1
    torch.testing.assert_close(cache.logits, before, atol=1e-4, rtol=0)


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


def test_decode_batch_splits_rows_only_where_memory_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward, cache = opened(tiny.model("llama"))
    together = decode_batch(forward, cache, BEGINS, max_new_tokens=3)
    monkeypatch.setattr(batched, "_BATCH_BYTES", 2 * cache.row_bytes)
    sizes = _batches(forward, monkeypatch)
    apart = decode_batch(forward, cache, BEGINS, max_new_tokens=3)
    assert set(sizes) == {1, 2}
    assert [branch.ids for branch in apart] == [branch.ids for branch in together]


def test_a_branch_ends_at_an_end_token() -> None:
    forward, cache = opened(tiny.model("llama"))
    free = decode_batch(forward, cache, [[5], [9]], max_new_tokens=8)
    end = free[0].ids[4]
    first, second = decode_batch(
        forward, cache, [[5], [9]], max_new_tokens=8, end_ids=frozenset([end])
    )
    assert first.ids == free[0].ids[: free[0].ids.index(end) + 1]
    assert len(first.rows) == len(first.ids)
    assert second.ids == free[1].ids or second.ids[-1] == end
    only = decode_batch(
        forward, cache, [[end]], max_new_tokens=8, end_ids=frozenset([end])
    )
    assert only[0].ids == (end,)


def test_goes_on_callback_ends_a_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, cache = opened(tiny.model("llama"))
    free = decode_batch(forward, cache, BEGINS, max_new_tokens=8)
    seen: list[list[int]] = [[] for _ in BEGINS]

    def goes_on(branch: int, token: int, row: TokenScore) -> bool:
        assert row.rank == 1
        seen[branch].append(token)
        return len(seen[branch]) < branch + 2

    sizes = _batches(forward, monkeypatch)
    some = decode_batch(forward, cache, BEGINS, max_new_tokens=8, goes_on=goes_on)
    for index, (branch, whole) in enumerate(zip(some, free, strict=True)):
        size = len(BEGINS[index]) + index + 2
        assert branch.ids == whole.ids[:size]
        assert seen[index] == list(whole.ids[len(BEGINS[index]) : size])
    assert [len(branch.ids) for branch in some] == [3, 4, 7, 6, 8]
    assert sizes == [5, 5, 5, 5, 5, 2, 1]  # half of them or more are left out


def test_decode_batch_keeps_to_its_limits_of_tokens_and_branches() -> None:
    forward, cache = opened(tiny.model("llama"))
    assert decode_batch(forward, cache, [], max_new_tokens=5) == []
    assert [
        b.ids for b in decode_batch(forward, cache, [[4], [5, 6]], max_new_tokens=0)
    ] == [
        (4,),
        (5, 6),
    ]
    with pytest.raises(ValueError, match="17 branches"):
        decode_batch(forward, cache, [[4]] * (MOST + 1), max_new_tokens=1)


@pytest.mark.parametrize("patience", range(0, 12, 3))
@pytest.mark.parametrize("family", ["mistral", "lfm2"])
def test_decode_batch_can_be_cancelled_within_one_token(
    family: str, patience: int
) -> None:
    model = test_families.model(family)
    forward, cache = opened(model)
    asked = count()
    with (
        counted(model) as lengths,
        pytest.raises(Cancelled),
        cancelled_when(lambda: next(asked) >= patience),
    ):
        decode_batch(forward, cache, BEGINS, max_new_tokens=9)
    assert len(lengths) <= patience
    assert next(asked) == patience + 1
    cache.read(CONTEXT)
    assert cache.logits is not None
    expected = test_families.naive(family, CONTEXT)[-1]
    test_families.close(cache.logits.double().log_softmax(-1), expected)
