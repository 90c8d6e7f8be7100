"""Models of other shapes: their own layers, with packed weights in them."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache as kept
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lmtui.engine.backends.transformers import TransformersBackend
from lmtui.engine.engine import LocalEngine
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.types import SamplingSettings
from lmtui.errors import Cancelled
from lmtui.models.llama.load import quantize_layers
from lmtui.models.quantized_layers import PackedLinear, pack_layers
from tests.engine import tiny
from tests.engine.backends.llama_cpu import lean
from tests.engine.test_prefix_cache import FEW, contexts
from tests.engine.test_prompt_lookup import made, without_guesses

SIZE = lean.SIZE | {"max_position_embeddings": 256, "initializer_range": 0.1}
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "bloom": {},
    "gemma2": {"sliding_window": 16, "head_dim": 16},
    "gemma3_text": {"sliding_window": 16, "head_dim": 16},
    "granite": {"logits_scaling": 3.0},
    "mistral": {"sliding_window": 16, "head_dim": 16},
    "phi3": {},
    "olmo2": {},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"]},
    "mixtral": {"num_local_experts": 4},
}
STEADY = sorted(FAMILIES.keys() - {"mixtral"})
"""Those whose experts are not chosen anew where a number is rounded."""
IDS = [3 + (7 * i * i + i) % 200 for i in range(120)]


def model(family: str) -> Any:
    """A tiny random model."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(family, **(SIZE | FAMILIES[family]))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@kept
def both(family: str) -> tuple[Any, Any]:
    """A tiny random model, and the same with packed layers."""
    exact, packed = model(family), model(family)
    pack_layers(packed, 8, dense=False)
    return exact, packed


def linears(made: Any) -> int:
    kinds = (nn.Linear, Conv1D)
    head = made.get_output_embeddings()
    return sum(isinstance(m, kinds) and m is not head for m in made.modules())


@torch.inference_mode()
def logprobs(made: Any, ids: list[int]) -> torch.Tensor:
    """[n, V]"""
    logits: torch.Tensor = made(torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)


def distance(exact: Any, other: Any) -> float:
    """Mean KL divergence over some text, in nats."""
    wanted, found = logprobs(exact, IDS), logprobs(other, IDS)
    return float((wanted.exp() * (wanted - found)).sum(-1).mean())


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_layers_stay_near_the_exact_model(family: str, dense: bool) -> None:
    exact, packed = model(family), model(family)
    before = linears(exact)
    assert pack_layers(packed, 8, dense=dense) == 8
    assert linears(packed) < before
    rough, half = model(family), model(family).bfloat16()
    assert pack_layers(rough, 4, dense=dense) == 4
    # How much rounding costs depends on the model; bfloat16 is the measure.
    measure = distance(exact, half)
    assert 0 < distance(exact, packed) < 8 * measure + 1e-5
    assert distance(exact, packed) < distance(exact, rough) < 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_cache_barely_changes_packed_logprobs(family: str) -> None:
    packed = model(family)
    pack_layers(packed, 8, dense=False)
    cache = PrefixCache(TransformersBackend(packed))
    cache.read(IDS[:70])
    for ids in ([*IDS[:70], 9], IDS[:40], IDS):
        cache.read(ids)
        assert cache.logits is not None
        wanted = logprobs(packed, ids)[-1]
        found = cache.logits.double().log_softmax(-1)
        assert float((wanted.exp() * (wanted - found)).sum()) < 2e-3


def test_weights_of_few_bits_are_packed_almost_exactly() -> None:
    made = model("granite")
    exact = copy.deepcopy(made)
    for layer in exact.modules():
        if isinstance(layer, nn.Linear) and layer is not exact.lm_head:
            steps = layer.weight.data.view(len(layer.weight), -1, 32)
            steps.copy_((steps * 10).round().clamp(-7, 8) / 10)
            steps[..., 0], steps[..., 1] = -0.7, 0.8
    packed = copy.deepcopy(exact)
    assert pack_layers(packed, 8, dense=False) == 4
    assert (
        distance(exact, packed)
        < 2 * distance(exact, copy.deepcopy(exact).bfloat16()) + 1e-5
    )


def test_pack_layers_leaves_unsupported_layers_alone() -> None:
    odd = nn.Sequential(nn.Linear(33, 16), nn.Linear(64, 10), nn.Linear(64, 32))
    odd.get_output_embeddings = lambda: odd[2]  # type: ignore[assignment]
    assert pack_layers(odd, 8, dense=False) == 0
    assert not any(isinstance(m, PackedLinear) for m in odd.modules())


@pytest.mark.parametrize("family", STEADY)
@given(history=contexts(), tail=st.lists(FEW, min_size=3, max_size=12))
@settings(deadline=None, max_examples=6)
def test_packed_model_stays_near_exact_after_any_history(
    family: str, history: list[list[int]], tail: list[int]
) -> None:
    exact, packed = both(family)
    forward = TransformersBackend(packed)
    forward.prefill_chunk = 24
    cache = PrefixCache(forward)

    def near(found: torch.Tensor, ids: list[int]) -> None:
        wanted, found = logprobs(exact, ids)[-1], found.double().log_softmax(-1)
        assert float((wanted.exp() * (wanted - found)).sum()) < 0.01

    for ids in [*history, [*IDS[:40], *tail]]:  # the last one is beyond the windows
        cache.read(ids)
        near(cache.logits, ids)
        for logits, end in zip(cache.extend(tail[:3]), (1, 2, 3), strict=True):
            near(logits, [*ids, *tail[:end]])
        if (forked := cache.fork(2, len(ids))) is not None:
            paths = [tail[:1], tail[1:3]]
            states = forward.hidden_states_after(paths, forked)
            for logits, path in zip(forward.head(states), paths, strict=True):
                near(logits, [*ids, *path])
        assert cache.ids == [*ids, *tail[:3]]


@pytest.mark.parametrize("asked", [0, 1, 2, 3])
@pytest.mark.parametrize("family", ["gemma3_text", "opt", "granite"])
def test_cancelled_read_leaves_the_prefix_cache_unchanged(
    family: str, asked: int
) -> None:
    _, packed = both(family)
    cache = PrefixCache(TransformersBackend(packed))
    cache.read(IDS[:30])
    left = iter(range(asked))
    with pytest.raises(Cancelled):
        cache.read(IDS[:50], should_stop=lambda: next(left, None) is None)
    assert cache.ids == IDS[:30]
    cache.read([*IDS[:30], *IDS[60:70]])
    fresh = PrefixCache(TransformersBackend(packed))
    fresh.read(IDS[:30])
    fresh.read([*IDS[:30], *IDS[60:70]])
    assert cache.logits is not None
    assert fresh.logits is not None
    assert torch.equal(cache.logits, fresh.logits)


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_prompt_lookup_changes_no_token_of_an_int8_model(
    family: str, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = replace(tiny.loaded(family), model=copy.deepcopy(tiny.model(family)))
    packed = quantize_layers(exact, "int8")
    assert (packed.precision, packed.number_format) == ("fast", "int8")
    wanted = SamplingSettings(temperature=temperature, seed=3, max_tokens=40)
    guessed, _ = made(LocalEngine(packed, context=256), wanted)
    without_guesses(monkeypatch)
    plain, _ = made(LocalEngine(packed, context=256), wanted)
    assert [step.id for step in guessed] == [step.id for step in plain]


def test_packed_model_has_its_own_extra_token_costs() -> None:
    exact, packed = (TransformersBackend(each) for each in both("granite"))
    assert exact.extra_token_costs is TransformersBackend.extra_token_costs
    assert packed.extra_token_costs is not TransformersBackend.extra_token_costs
    assert exact.prefill_chunk == packed.prefill_chunk == 512
