"""Quicker layers compute what the layers compute."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from lmtui.train import cpu_kernels
from lmtui.train.cpu_kernels import Rounded, accelerate_linears
from tests.engine import tiny

IDS = torch.tensor([[3 + (5 * i * i + i) % 200 for i in range(64)]])
HALF = torch.bfloat16


def adapted(name: str = "llama") -> Any:
    torch.manual_seed(5)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    model: Any = get_peft_model(deepcopy(tiny.model(name)), config)
    for key, weight in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(weight, std=0.2)
    return model


def outcome(model: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """A loss and its gradients by name."""
    model.zero_grad()
    loss = model(input_ids=IDS, labels=IDS, use_cache=False).loss
    loss.backward()
    named = model.named_parameters()
    return loss.detach(), {n: p.grad for n, p in named if p.grad is not None}


@pytest.mark.parametrize("name", tiny.FAMILIES)
@pytest.mark.parametrize("adapter", [True, False])
def test_accelerated_linears_equal_plain_ones_in_float32(
    name: str, adapter: bool
) -> None:
    model = adapted(name) if adapter else deepcopy(tiny.model(name))
    expected, wanted = outcome(model)
    accelerate_linears(model)
    found, gradients = outcome(model)
    torch.testing.assert_close(found, expected)
    assert gradients.keys() == wanted.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("adapter", [True, False])
def test_accelerated_linears_are_as_exact_as_plain_autocast(adapter: bool) -> None:
    model = adapted() if adapter else deepcopy(tiny.model())
    _, exact = outcome(model)
    with torch.autocast("cpu", HALF):
        _, plain = outcome(model)
        accelerate_linears(model)
        _, ours = outcome(model)
    for key, gradient in ours.items():
        scale = exact[key].norm()
        assert (gradient - exact[key]).norm() < 1.5 * (
            plain[key] - exact[key]
        ).norm() + 0.01 * scale


def test_a_frozen_weight_is_rounded_again_only_when_it_has_changed() -> None:
    weight = torch.randn(4, 4)
    rounded = Rounded(weight)
    assert rounded() is rounded()
    weight += 1
    assert torch.equal(rounded(), weight.to(HALF))


class Untraced(torch.optim.Optimizer):
    """An optimiser whose changes leave a weight's version as it was."""

    def step(self, closure: Any = None) -> None:
        for weight in self.param_groups[0]["params"]:
            weight.data.sub_(weight.grad)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda weights: torch.optim.AdamW(weights, lr=0.1, fused=True),
        lambda weights: torch.optim.AdamW(weights, lr=0.1, foreach=True),
        lambda weights: torch.optim.SGD(weights, lr=0.1, fused=True),
        lambda weights: torch.optim.SGD(weights, lr=0.1, foreach=False),
        lambda weights: Untraced(weights, {}),
    ],
    ids=["fused AdamW", "foreach AdamW", "fused SGD", "SGD", "untraced"],
)
def test_a_trained_weight_is_rounded_anew_after_each_step(optimizer: Any) -> None:
    weight = nn.Parameter(torch.randn(4, 4))
    rounded = Rounded(weight)
    stepping = optimizer([weight])
    for _ in range(3):
        weight.grad = torch.randn(4, 4)
        before = rounded()
        stepping.step()
        assert torch.equal(rounded(), weight.detach().to(HALF))
        assert not torch.equal(rounded(), before)


def test_a_weight_that_was_trained_in_between_is_rounded_again() -> None:
    weight = nn.Parameter(torch.randn(4, 4), requires_grad=False)
    rounded = Rounded(weight)
    rounded()
    weight.requires_grad_(True)
    rounded()
    weight.data += 1
    weight.requires_grad_(False)
    assert torch.equal(rounded(), weight.detach().to(HALF))


def test_an_input_is_rounded_once_for_layers_that_share_it() -> None:
    x = torch.randn(3, requires_grad=True)
    half = cpu_kernels._in_half(x)
    assert cpu_kernels._in_half(x) is half
    with torch.no_grad():
        assert not cpu_kernels._in_half(x).requires_grad
    assert cpu_kernels._in_half(torch.randn(3)) is not half


def test_accelerated_layer_with_disabled_adapter_is_plain() -> None:
    model = adapted()
    with model.disable_adapter():
        expected = model(input_ids=IDS).logits
    accelerate_linears(model)
    with model.disable_adapter():
        torch.testing.assert_close(model(input_ids=IDS).logits, expected)


def test_accelerate_linears_leaves_adapters_with_dropout_alone() -> None:
    torch.manual_seed(5)
    config = LoraConfig(r=4, lora_dropout=0.5, target_modules="all-linear")
    model: Any = get_peft_model(deepcopy(tiny.model()), config).eval()
    expected = model(input_ids=IDS).logits
    accelerate_linears(model)
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    assert not isinstance(layer.forward, cpu_kernels._Adapted)
    torch.testing.assert_close(model(input_ids=IDS).logits, expected)


def test_wrong_onednn_product_falls_back_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu_kernels, "_onednn", lambda x, weight: x @ weight.t() + 1)
    monkeypatch.setattr(cpu_kernels, "_found", [])
    x, weight = torch.randn(64, 8), torch.randn(4, 8)
    torch.testing.assert_close(cpu_kernels.product(x, weight), x @ weight.t())
