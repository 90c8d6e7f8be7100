"""Models of other shapes: their own layers, with packed weights in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from lmtui.engine.cache import PrefixCache
from lmtui.engine.library import LibraryForward
from lmtui.models.packed_layers import PackedLinear, pack_layers
from tests.engine.fast import lean

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
IDS = [3 + (7 * i * i + i) % 200 for i in range(120)]


def model(family: str) -> Any:
    """A tiny random model."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(family, **(SIZE | FAMILIES[family]))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def linears(made: Any) -> int:
    kinds = (nn.Linear, Conv1D)
    head = made.get_output_embeddings()
    return sum(isinstance(m, kinds) and m is not head for m in made.modules())


@torch.inference_mode()
def logprobs(made: Any, ids: list[int]) -> torch.Tensor:
    """[n, V]"""
    logits: torch.Tensor = made(torch.tensor([ids])).logits[0]
    return logits.float().log_softmax(-1)


def distance(exact: Any, other: Any) -> float:
    """Mean KL divergence over some text, in nats."""
    wanted, found = logprobs(exact, IDS), logprobs(other, IDS)
    return float((wanted.exp() * (wanted - found)).sum(-1).mean())


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_layers_say_nearly_the_same(family: str, dense: bool) -> None:
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
def test_a_cache_changes_next_to_nothing(family: str) -> None:
    packed = model(family)
    pack_layers(packed, 8, dense=False)
    cache = PrefixCache(LibraryForward(packed))
    cache.read(IDS[:70])
    for ids in ([*IDS[:70], 9], IDS[:40], IDS):
        cache.read(ids)
        assert cache.logits is not None
        wanted = logprobs(packed, ids)[-1]
        found = cache.logits.log_softmax(-1)
        assert float((wanted.exp() * (wanted - found)).sum()) < 2e-3


def test_what_had_few_bits_keeps_them() -> None:
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


def test_what_the_kernel_does_not_take_is_left_alone() -> None:
    odd = nn.Sequential(nn.Linear(33, 16), nn.Linear(64, 10), nn.Linear(64, 32))
    odd.get_output_embeddings = lambda: odd[2]  # type: ignore[assignment]
    assert pack_layers(odd, 8, dense=False) == 0
    assert not any(isinstance(m, PackedLinear) for m in odd.modules())
