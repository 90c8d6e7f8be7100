"""What is made again is what was, and less is kept."""

from __future__ import annotations

import gc
import weakref
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from lmtui.train.cpu_kernels import accelerate_linears, enable_recompute, recipe_of
from lmtui.train.model import activation_bytes
from tests.engine import tiny
from tests.train.test_cpu_kernels import HALF, adapted, outcome
from tests.train.tiny_training import trainee

GATED = ("llama", "qwen3", "gemma3")


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("adapter", [True, False])
@pytest.mark.parametrize("name", tiny.FAMILIES)
def test_recompute_keeps_every_bit_of_the_gradients(
    name: str, *, adapter: bool, half: bool
) -> None:
    model = adapted(name) if adapter else deepcopy(tiny.model(name))
    accelerate_linears(model)
    with torch.autocast("cpu", HALF, enabled=half):
        expected, wanted = outcome(model)
        undo = enable_recompute(model)
        found, gradients = outcome(model)
        undo()
        again, _ = outcome(model)
    assert torch.equal(found, expected)
    assert torch.equal(again, expected)
    assert gradients.keys() == wanted.keys()
    assert all(torch.equal(gradients[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("name", GATED)
def test_recompute_saves_memory_and_adds_none_to_checkpointing(name: str) -> None:
    subject = trainee(name)
    some = activation_bytes(subject, 32)
    subject.disable_recompute()
    everything = activation_bytes(subject, 32)
    assert some < 0.85 * everything
    checkpointed = trainee(name)
    checkpointed.checkpoint_activations()
    subject.checkpoint_activations()
    assert activation_bytes(checkpointed, 32) == activation_bytes(subject, 32) < some
    x = torch.ones(1, 2, 3)
    norms = [m for m in checkpointed.model.modules() if "Norm" in type(m).__name__]
    for norm in norms[:1]:
        x = torch.ones(1, 2, norm.weight.shape[0], requires_grad=True)
        assert recipe_of(norm(x)) is None


class Doubled(nn.Module):
    """Has the names of a gated layer, and does something else."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(4, 8), nn.Linear(4, 8)
        self.down_proj, self.act_fn = nn.Linear(8, 4), nn.SiLU()

    def forward(self, x: Any) -> Any:
        return self.down_proj(2 * self.act_fn(self.gate_proj(x)) * self.up_proj(x))


def test_layer_that_only_looks_gated_is_left_alone() -> None:
    model = nn.Sequential(Doubled())
    enable_recompute(model)
    assert "forward" not in vars(model[0])


def test_output_under_no_grad_has_no_recipe() -> None:
    norm = nn.LayerNorm(4)
    enable_recompute(nn.Sequential(norm))
    with torch.no_grad():
        assert recipe_of(norm(torch.ones(1, 4))) is None
    x = torch.linspace(0, 1, 8).view(2, 4)
    recipe = recipe_of(y := norm(x))
    assert recipe is not None
    assert torch.equal(recipe(), y)


class GatedNorm(nn.Module):
    """A norm of two inputs, as beside some recurrent layers."""

    def forward(self, x: Any, gate: Any = None) -> Any:
        return x if gate is None else x * gate


def test_output_of_more_than_its_input_has_no_recipe() -> None:
    gated, batch = GatedNorm(), nn.BatchNorm1d(4)
    enable_recompute(nn.Sequential(gated, batch))
    x = torch.linspace(0, 1, 8).view(2, 4)
    assert recipe_of(gated(x)) is not None
    assert recipe_of(gated(x, x)) is None
    assert recipe_of(gated(x, gate=x)) is None
    assert recipe_of(batch(x)) is None


def test_output_changed_in_place_has_no_recipe() -> None:
    norm = nn.LayerNorm(4)
    enable_recompute(nn.Sequential(norm))
    y = norm(torch.linspace(0, 1, 8).view(2, 4))
    assert recipe_of(y) is not None
    y *= 2
    assert recipe_of(y) is None


def test_recipes_are_freed_by_the_backward_pass() -> None:
    norm, layer = nn.LayerNorm(4), nn.Linear(4, 4)
    model = nn.Sequential(norm, layer)
    enable_recompute(model)
    accelerate_linears(model)
    held = []
    gc.disable()
    try:
        for _ in range(3):
            middle = norm(torch.linspace(0, 1, 8).view(2, 4))
            held.append(weakref.ref(recipe_of(middle)))
            loss = layer(middle).sum()
            del middle
            assert held[-1]() is not None
            loss.backward()
        # The last one made is kept for the neighbours that may still ask.
        assert [found() is not None for found in held] == [False, False, True]
    finally:
        gc.enable()
