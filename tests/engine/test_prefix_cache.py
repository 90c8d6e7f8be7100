"""Whatever was in the cache before, the logits are those of a fresh run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.token_tree import Tree
from lmtui.errors import Cancelled
from tests.engine import tiny
from tests.examples import examples

FEW = st.integers(3, 60)
FAMILIES = ("llama", "gemma3")
"""One that attends to all tokens, and one with a sliding window."""


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """The lengths of all inputs that the model is called with."""
    lengths: list[int] = []

    def note(_: Any, __: Any, inputs: dict[str, Any]) -> None:
        lengths.append(inputs["input_ids"].shape[1])

    handle = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield lengths
    finally:
        handle.remove()


def assert_follows(
    cache: PrefixCache, expected: torch.Tensor, *, atol: float = 1e-4
) -> None:
    """Whether the cache's logits are those of the expected log-probabilities."""
    assert cache.logits is not None
    found = cache.logits.double().log_softmax(-1)
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


@st.composite
def contexts(draw: st.DrawFn) -> list[list[int]]:
    """A context as it is appended to, edited, cut and grown again."""
    ids = draw(st.lists(FEW, min_size=1, max_size=40))
    history = [ids]
    for _ in range(draw(st.integers(1, 5))):
        keep = draw(st.integers(0, len(ids)))
        tail = draw(st.lists(FEW, max_size=25))
        ids = (ids[:keep] + tail) or [7]
        history.append(ids)
    return history


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
@given(history=contexts())
@settings(deadline=None, max_examples=examples(20, 100))
def test_prefix_cache_reuse_keeps_the_logits(
    family: str, device: str, history: list[list[int]]
) -> None:
    model = tiny.model(family, device)
    cache = PrefixCache(TransformersBackend(model))
    for ids in history:
        with counted(model) as lengths:
            reused = cache.read(ids)
        assert sum(lengths) == len(ids) - reused
        assert cache.ids == ids
        # Sums of other lengths round otherwise.
        expected = tiny.reference_logprobs(family, ids, device)[-1]
        assert_follows(cache, expected, atol=5e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_cache_reuses_the_common_prefix(family: str) -> None:
    cache = PrefixCache(TransformersBackend(tiny.model(family)))
    ids = [3 + i % 50 for i in range(3 * tiny.SLIDING_WINDOW)]
    assert cache.read(ids) == 0
    assert cache.read([*ids, 9, 9]) == len(ids)
    assert cache.read([*ids, 9, 8]) == len(ids) + 1
    assert cache.read([*ids, 9, 8]) == len(ids) + 2
    assert cache.read(ids[:20]) == 19
    assert cache.read([*ids[:10], 60]) == 10


def test_prefix_cache_survives_a_stop_between_layers() -> None:
    model = tiny.model("llama")
    cache = PrefixCache(TransformersBackend(model))
    start = list(range(3, 23))
    cache.read(start)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3  # before the part, then before its first and second layer

    longer = [*start, *range(30, 60)]
    with pytest.raises(Cancelled), cancelled_when(stop):
        cache.read(longer)
    assert asked == 4
    assert cache.ids == start
    assert cache.read(longer) == len(start)
    assert_follows(cache, tiny.reference_logprobs("llama", longer)[-1])


def test_failed_forward_pass_empties_the_prefix_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = TransformersBackend(tiny.model("llama"))
    cache = PrefixCache(forward)
    cache.read([3, 4, 5])
    with monkeypatch.context() as patch:
        patch.setattr(forward, "logits", _out_of_memory)
        with pytest.raises(MemoryError):
            cache.extend([6])
    assert cache.ids == []
    assert cache.read([3, 4, 5]) == 0


def _out_of_memory(*_: Any, **__: Any) -> None:
    raise MemoryError


def test_a_long_prompt_is_read_in_parts_and_reports_them() -> None:
    forward = TransformersBackend(tiny.model("llama"))
    forward.prefill_chunk = 16
    cache = PrefixCache(forward)
    seen: list[tuple[int, int]] = []
    cache.read(
        list(range(3, 43)), progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(0, 40), (16, 40), (32, 40)]


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
@given(history=contexts(), since=st.integers(0, 40))
@settings(deadline=None, max_examples=15)
def test_head_of_hidden_states_gives_the_logits(
    family: str, device: str, history: list[list[int]], since: int
) -> None:
    forward = TransformersBackend(tiny.model(family, device))
    forward.prefill_chunk = 16
    cache = PrefixCache(forward)
    for ids in history:
        first = min(since, len(ids) - 1)
        parts = list(cache.hidden_states(ids, first))
        start = parts[0][0]
        assert start <= first
        assert cache.ids == ids
        made = (
            torch.cat([forward.head(states) for _, states in parts])
            .double()
            .log_softmax(-1)
        )
        expected = tiny.reference_logprobs(family, ids, device)[start:]
        # Sums are rounded in another order; the logits of a random model are large.
        torch.testing.assert_close(made, expected, atol=4e-4, rtol=0)
        assert_follows(cache, expected[-1], atol=4e-4)
        with counted(forward.model) as lengths:
            assert cache.read(ids) == len(ids)
        assert lengths == []


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
@given(
    held=st.integers(1, 30),
    paths=st.lists(st.lists(st.integers(3, 6), min_size=1, max_size=4), min_size=1),
)
@settings(deadline=None, max_examples=15)
def test_paths_side_by_side_equal_each_alone(
    family: str, device: str, held: int, paths: list[list[int]]
) -> None:
    forward = TransformersBackend(tiny.model(family, device))
    cache = PrefixCache(forward)
    ids = [3 + i % 50 for i in range(32)]
    cache.read(ids)
    expected = torch.stack(
        [
            tiny.reference_logprobs(family, [*ids[:held], *path], device)[-1]
            for path in paths
        ]
    )
    found = [forward.hidden_states_after(paths, cache.fork(len(paths), held))]
    if forward.reads_trees:
        tree = Tree.of(paths)
        found.append(forward.hidden_states_tree(tree, cache.fork(1, held))[tree.places])
    for states in found:
        made = forward.head(states).double().log_softmax(-1)
        torch.testing.assert_close(made, expected, atol=1e-4, rtol=0)
    assert cache.ids == ids
    cache.extend([9])
    assert_follows(cache, tiny.reference_logprobs(family, [*ids, 9], device)[-1])


def test_tree_holds_shared_beginnings_once() -> None:
    tree = Tree.of([[5, 6], [5], [5, 7], [5, 6]])
    assert (tree.ids, tree.depths) == ([5, 6, 7], [0, 1, 1])
    assert tree.places == [1, 0, 2, 1]
    assert tree.seen.tolist() == [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    families = {
        f: TransformersBackend(tiny.model(f)).reads_trees for f in tiny.FAMILIES
    }
    assert families == {"llama": True, "gpt2": True, "qwen3": True, "gemma3": False}
