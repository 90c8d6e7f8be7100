"""Steps over a cache that stays where it is; recorded where there is a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.backends import cuda_graph
from lmtui.engine.backends.cuda_graph import CudaGraphBackend
from lmtui.engine.backends.select import backend_of
from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.generation.prompt_lookup import PromptLookup
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.token_tree import Tree
from lmtui.errors import Cancelled
from tests.engine import tiny
from tests.engine.growing import grown
from tests.examples import examples

FAMILIES = ("llama", "gpt2", "qwen3")
IDS = [3 + (7 * i * i + i) % 300 for i in range(200)]


def forward(family: str, device: str = "cpu") -> CudaGraphBackend:
    return CudaGraphBackend(tiny.model(family, device), records=device != "cpu")


def close(ours: torch.Tensor, family: str, ids: list[int], device: str) -> None:
    # Sums over the whole room are rounded in another order; of logprobs down to -20.
    expected = tiny.reference_logprobs(family, ids, device)[-len(ours) :]
    torch.testing.assert_close(
        ours.double().log_softmax(-1), expected, atol=4e-4, rtol=0
    )


def test_cuda_graph_backend_suits_all_families_but_gemma3() -> None:
    suited = {f: CudaGraphBackend.suits(tiny.model(f)) for f in tiny.FAMILIES}
    assert suited == {"llama": True, "gpt2": True, "qwen3": True, "gemma3": False}
    assert type(backend_of(tiny.loaded("llama"))) is not CudaGraphBackend  # on a CPU


def test_prompt_lookup_guesses_nothing_at_cuda_graph_costs() -> None:
    repeated = [1, 2, 3, 4, 5, 6, 7, 8] * 9
    plain = TransformersBackend(tiny.model("llama"))
    assert PromptLookup(plain.extra_token_costs, repeated).guess(5)
    assert not PromptLookup(forward("llama").extra_token_costs, repeated).guess(5)


@pytest.mark.parametrize("device", tiny.DEVICES)
@given(
    family=st.sampled_from(FAMILIES),
    history=st.lists(
        st.tuples(
            st.integers(0, 150), st.lists(st.integers(3, 6), min_size=1, max_size=9)
        ),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=examples(12, 300))
def test_logits_equal_the_reference_after_any_history(
    device: str, family: str, history: list[tuple[int, list[int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cuda_graph, "_FIRST", 16)  # so that it has to grow
        runs = forward(family, device)
        runs.prefill_chunk = 32
        cache = PrefixCache(runs)
        for begin, more in history:
            ids = [*IDS[:begin], *more]
            cache.read(ids)
            assert cache.logits is not None
            close(cache.logits[None], family, ids, device)
            for token in (7, 8, 9):
                ids.append(token)
                close(cache.extend([token]), family, ids, device)
            assert cache.ids == ids
            ids += [4, 5]
            close(cache.extend([4, 5]), family, ids, device)


@pytest.mark.parametrize("device", tiny.DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
def test_forked_rows_and_trees_equal_the_reference(family: str, device: str) -> None:
    runs = forward(family, device)
    cache = PrefixCache(runs)
    cache.read(IDS[:40])
    cache.extend([5])
    paths = [[7], [7, 8], [9, 8, 7]]
    states = runs.hidden_states_after(paths, cache.fork(3, 30))
    for state, path in zip(runs.head(states), paths, strict=True):
        close(state[None], family, [*IDS[:30], *path], device)
    tree = Tree.of(paths)
    states = runs.hidden_states_tree(tree, cache.fork(1, 30))[tree.places]
    for state, path in zip(runs.head(states), paths, strict=True):
        close(state[None], family, [*IDS[:30], *path], device)
    found = grown(cache, cache.ids, [[5], [6, 7]], 6)
    assert [len(steps) for steps in found] == [7, 8]
    assert cache.ids == [*IDS[:40], 5]
    close(cache.extend([6]), family, [*IDS[:40], 5, 6], device)


@pytest.mark.parametrize("device", tiny.DEVICES)
def test_prefix_cache_survives_a_cancelled_read(device: str) -> None:
    cache = PrefixCache(forward("llama", device))
    cache.read(IDS[:20])
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Cancelled), cancelled_when(stop):
        cache.read(IDS[:40])
    assert cache.ids == IDS[:20]
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        cache.extend([5])
    assert cache.ids == IDS[:20]
    cache.read(IDS[:40])
    assert cache.logits is not None
    close(cache.logits[None], "llama", IDS[:40], device)


@pytest.mark.parametrize("device", tiny.DEVICES)
def test_nan_in_rolled_back_states_does_not_affect_logits(device: str) -> None:
    cache = PrefixCache(forward("llama", device))
    cache.read(IDS[:40])
    held: Any = cache._cache
    with torch.inference_mode():
        for layer in held.cache.layers:  # as after a step that overflowed
            layer.keys[:, :, 30:] = layer.values[:, :, 30:] = torch.nan
    cache.read([*IDS[:20], 5])
    assert cache.logits is not None
    close(cache.logits[None], "llama", [*IDS[:20], 5], device)
    close(cache.extend([6]), "llama", [*IDS[:20], 5, 6], device)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_decode_step_is_captured_as_a_cuda_graph() -> None:
    runs = forward("llama", "cuda")
    cache = PrefixCache(runs)
    cache.read(IDS[:20])
    cache.extend([5])
    assert runs._records
    assert cache._cache.step._graph is not None  # type: ignore[attr-defined]


def test_failed_capture_falls_back_to_plain_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(self: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(cuda_graph.CapturedStep, "record", fails)
    monkeypatch.setattr(cuda_graph._log, "warning", lambda *words: told.append(words))
    runs = CudaGraphBackend(tiny.model("llama"), records=True)
    cache = PrefixCache(runs)
    cache.read(IDS[:20])
    for count in range(20, 24):
        close(cache.extend([IDS[count]]), "llama", IDS[: count + 1], "cpu")
    assert not runs._records
    assert len(told) == 1
