"""Tensors that a training on the processor need not keep: they are quickly made again.

Owns which those are: what a norm makes of its input, and the product act(gate) · up of
a gated layer. Each is made of tensors that are kept anyway, by a pass or two over small
matrices; together they are two fifths of what a block leaves in memory. The linear
layers that read them would keep them for the way back; they ask here, and keep the
recipe. The numbers are the same, bit for bit. Knows neither losses nor adapters.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

Recipe = Callable[[], Tensor]
"""Makes a tensor again, without its history."""

_GATED = ("gate_proj", "up_proj", "down_proj", "act_fn")
_NAME = "_lmtui_recipe"  # of the attribute of a tensor


def recipe_of(tensor: Tensor) -> Recipe | None:
    """How to make a tensor again; None for one that has to be kept."""
    noted: tuple[Recipe, int] | None = getattr(tensor, _NAME, None)
    if noted is None or noted[1] != tensor._version:  # it was changed in place
        return None
    return noted[0]


def round_recipe(tensor: Tensor, half: Tensor) -> None:
    """Let `half`, the same in a shorter dtype, be made again as `tensor` is."""
    recipe, dtype = recipe_of(tensor), half.dtype
    if recipe is not None:
        _note(half, lambda: recipe().to(dtype))


def remake(model: nn.Module) -> Callable[[], None]:
    """Let the norms and the gated layers of a model tell how to make their tensors
    again; what is no plain one stays as it is. Returns what undoes it."""
    slot, undo = _Slot(), ExitStack()
    for module in model.modules():
        if _is_norm(module):
            hook = module.register_forward_hook(slot.note_norm, with_kwargs=True)
            undo.callback(hook.remove)
        elif all(hasattr(module, name) for name in _GATED) and _is_plain(module):
            _set_forward(module, slot)
            undo.callback(delattr, module, "forward")
    return undo.close


class _Slot:
    """Holds what was made last: the layers that read one tensor differentiate one
    after the other."""

    def __init__(self) -> None:
        self.recipe: _Recipe | None = None
        self.tensor = torch.empty(0)

    def note_norm(
        self, norm: Any, given: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> None:
        """Of a norm of one input: how to make its output again."""
        if not (torch.is_grad_enabled() and isinstance(output, Tensor)):
            return
        if len(given) != 1 or named:  # gated by another one, say
            return
        x, forward = given[0].detach(), type(norm).forward  # without the hooks
        _note(output, _Recipe(self, lambda: forward(norm, x)))


class _Recipe:
    """A recipe that is followed once for neighbours. Nothing in it refers to itself:
    what it holds has to go with the graph, and not when rubbish is collected."""

    def __init__(self, slot: _Slot, make: Recipe) -> None:
        self._slot, self._make = slot, make

    @torch.no_grad()
    def __call__(self) -> Tensor:
        if self._slot.recipe is not self:
            self._slot.tensor, self._slot.recipe = self._make(), self
        return self._slot.tensor


def _note(tensor: Tensor, recipe: Recipe) -> None:
    setattr(tensor, _NAME, (recipe, tensor._version))


def _set_forward(module: Any, slot: _Slot) -> None:
    def forward(x: Tensor) -> Tensor:
        gate, up, act = module.gate_proj(x), module.up_proj(x), module.act_fn
        apply: Any = _Gated.apply
        inner = apply(gate, up, act)
        if torch.is_grad_enabled():
            a, b = gate.detach(), up.detach()
            _note(inner, _Recipe(slot, lambda: act(a) * b))
        y: Tensor = module.down_proj(inner)
        return y

    module.forward = forward


class _Gated(torch.autograd.Function):
    """act(gate) · up of which the factors alone are kept."""

    @staticmethod
    def forward(
        ctx: Any, gate: Tensor, up: Tensor, act: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.act = act
        return act(gate) * up

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        with torch.enable_grad():
            gate = gate.detach().requires_grad_()
            acted = ctx.act(gate)
        (to_gate,) = torch.autograd.grad(acted, gate, grads[0] * up)
        return to_gate, grads[0] * acted.detach(), None


def _is_norm(module: nn.Module) -> bool:
    """Whether it is a norm that remembers nothing of what it sees."""
    parts = [*module.children(), *module.buffers()]
    return "norm" in type(module).__name__.lower() and not parts


@torch.no_grad()
def _is_plain(module: Any) -> bool:
    """Whether it computes down(act(gate(x)) · up(x)) and no more."""
    width = getattr(module.gate_proj, "in_features", None)
    if width is None:
        return False
    weight = next(module.parameters())
    x = torch.linspace(-2, 2, 3 * width, device=weight.device).view(1, 3, width)
    x = x.to(weight.dtype)
    try:
        inner = module.act_fn(module.gate_proj(x)) * module.up_proj(x)
        return torch.equal(module(x), module.down_proj(inner))
    except (RuntimeError, TypeError, AttributeError):
        return False
