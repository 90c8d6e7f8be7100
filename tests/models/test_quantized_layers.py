"""What takes the place of the library's layers answers as they do."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lmtui.engine.backends import transformers
from lmtui.models import quantized_layers
from lmtui.models.llama.int4 import quantise
from lmtui.models.model_info import weights_in
from lmtui.models.quantized_layers import (
    FusedLinearPart,
    PackedLinear,
    pack_layers,
    rms_norm_of,
)
from tests.engine.backends.llama_cpu.test_decoder import (
    FAMILIES,
    IDS,
    distance,
    logprobs,
    model,
)

FUSED = {"gpt2": 0, "bloom": 0, "phi3": 0, "opt": 9, "lfm2": 9, "mixtral": 9}
"""Matrices that share their input with others; 15 where q, k, v and gate, up do."""
SIZES = (32, 16, 48)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_fused_linear_parts_equal_separate_layers(
    family: str, dense: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, apart = model(family), model(family)
    pack_layers(together, 8, dense=dense)
    with monkeypatch.context() as patch:
        patch.setattr(
            quantized_layers, "_of_one_input", lambda _, layers: [[m] for m in layers]
        )
        pack_layers(apart, 8, dense=dense)
    fused = [m for m in together.modules() if isinstance(m, FusedLinearPart)]
    assert len(fused) == FUSED.get(family, 15)
    assert not any(isinstance(m, FusedLinearPart) for m in apart.modules())
    for ids in (IDS[:1], IDS[:5], IDS[:20]):
        assert torch.equal(logprobs(together, ids), logprobs(apart, ids))
    assert distance(apart, together) < 1e-6
    assert not any(m._together._products for m in fused)


@given(
    asked=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=20),
    changed=st.sets(st.integers(0, 19)),
)
def test_fused_linear_part_never_reuses_a_stale_product(
    asked: list[tuple[int, int]], changed: set[int]
) -> None:
    """Asked in any order, with inputs that are changed once all have taken them."""
    linears, parts = _three()
    inputs = [torch.randn(2, 64) for _ in range(3)]
    with torch.inference_mode():
        for index, (part, which) in enumerate(asked):
            if index in changed and not parts[0]._together._products:
                inputs[which] += 1
            found = parts[part](inputs[which])
            torch.testing.assert_close(found, linears[part](inputs[which]))
            assert found.is_contiguous()


def _three() -> tuple[list[PackedLinear], list[FusedLinearPart]]:
    """Three layers, each by itself and all together."""
    groups = {
        nn.Linear(64, n, bias=n > 16): quantise(torch.randn(n, 64), 4) for n in SIZES
    }
    linears = [
        quantized_layers._packed({m: g}, dense=False)[m] for m, g in groups.items()
    ]
    parts = quantized_layers._packed(groups, dense=False)
    return linears, [parts[layer] for layer in groups]  # type: ignore[return-value]


def test_fused_linear_part_keeps_no_reference_to_its_inputs() -> None:
    _, parts = _three()
    inputs = torch.randn(1, 64)
    kept = weakref.ref(inputs)
    for part in parts:
        part(inputs)
    del inputs
    assert kept() is None


def test_two_models_do_not_share_products() -> None:
    one = model("granite")
    pack_layers(one, 8, dense=False)
    other = copy.deepcopy(one)
    for module in other.modules():
        if isinstance(module, FusedLinearPart):
            module._together._whole._bias = torch.ones(sum(module._together._sizes))
    attention = [made.model.layers[0].self_attn for made in (one, other)]
    inputs = torch.randn(1, 1, 64)
    for name in ("q_proj", "k_proj", "v_proj"):
        first, second = (getattr(each, name)(inputs) for each in attention)
        torch.testing.assert_close(second, first + 1)


class Changing(nn.Module):
    """Changes its input between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 64)
        self.first, self.second, self.third = (nn.Linear(64, 16) for _ in range(3))

    def forward(self, input_ids: torch.Tensor, use_cache: bool = False) -> torch.Tensor:
        states = self.embedding(input_ids)
        first, second = self.first(states), self.second(states)
        states.add_(1)
        total: torch.Tensor = first + second + self.third(states)
        return total

    def get_output_embeddings(self) -> None:
        return None


def test_input_changed_in_place_is_multiplied_anew() -> None:
    made = Changing()
    exact = copy.deepcopy(made)
    assert pack_layers(made, 8, dense=False) == 8
    assert isinstance(made.first, FusedLinearPart)
    assert made.first._together is made.second._together  # type: ignore[union-attr]
    assert isinstance(made.third, PackedLinear)
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(made(ids), exact(ids), atol=3e-2, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_in_counts_packed_weights(family: str) -> None:
    made = model(family)
    weights, layer = weights_in(made), weights_in(layers_of(made)[0])
    assert weights == made.num_parameters()
    pack_layers(made, 4, dense=True)
    # Norms hold theirs as they like, and biases of a few outputs are not counted.
    assert weights_in(made) == pytest.approx(weights, rel=0.02)
    assert weights_in(layers_of(made)[0]) == pytest.approx(layer, rel=0.04)


def layers_of(made: Any) -> list[nn.Module]:
    return transformers._layers(made)


class OddRMSNorm(nn.Module):
    """Called like one, but something else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64))
        self.eps = 1e-6

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return nn.functional.layer_norm(states, (64,), self.weight, eps=self.eps)


def test_rms_norm_of_recognises_norms_by_their_output() -> None:
    assert rms_norm_of(OddRMSNorm()) is None
    for family in ("gemma3_text", "olmo2", "granite"):
        for norm in (
            m for m in model(family).modules() if "RMSNorm" in type(m).__name__
        ):
            nn.init.normal_(norm.weight, 1, 0.3)
            few = rms_norm_of(norm)
            assert few is not None
            states = 5 * torch.randn(2, 3, 4, len(norm.weight))
            torch.testing.assert_close(few(states), norm(states))
            states[1] = 0
            torch.testing.assert_close(few(states), norm(states))
