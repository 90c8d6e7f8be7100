"""Faster linear layers for training on the CPU, with the same results.

float32 products go to oneDNN, since torch's default library is slow on some makers'
CPUs. A LoRA product is added in place. Under bfloat16 autocast a frozen weight is
rounded once, not at every use, and an input once for all layers that read it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Recipe = Callable[[], Tensor]
"""Recomputes a tensor, outside autograd."""

_GATED = ("gate_proj", "up_proj", "down_proj", "act_fn")
_NAME = "_lmtui_recipe"  # attribute of a tensor: its recipe and its version

HALF = torch.bfloat16
_FEW = 32  # rows; below, oneDNN's set-up for a new shape costs more than it saves
_HALVED = "_lmtui_halved"  # attribute of a tensor: its bfloat16 copy


def recipe_of(tensor: Tensor) -> Recipe | None:
    """Return the function that recomputes a tensor; None for one that must be kept."""
    noted: tuple[Recipe, int] | None = getattr(tensor, _NAME, None)
    if noted is None or noted[1] != tensor._version:  # changed in place since
        return None
    return noted[0]


def round_recipe(tensor: Tensor, half: Tensor) -> None:
    """Give `half`, the tensor in a shorter dtype, a recipe that follows that of
    `tensor`."""
    recipe, dtype = recipe_of(tensor), half.dtype
    if recipe is not None:
        _note(half, lambda: recipe().to(dtype))


def enable_recompute(model: nn.Module) -> Callable[[], None]:
    """Let a model's norms and gated MLPs attach recipes to their outputs.

    Backward then recomputes these outputs instead of keeping them. Modules of an
    unknown kind stay as they are. Returns the function that undoes it.
    """
    slot, undo = _Slot(), ExitStack()
    for module in model.modules():
        if _is_norm(module):
            hook = module.register_forward_hook(slot.note_norm, with_kwargs=True)
            undo.callback(hook.remove)
        elif all(hasattr(module, name) for name in _GATED) and _is_plain(module):
            _set_gated_forward(module, slot)
            undo.callback(delattr, module, "forward")
    return undo.close


class _Slot:
    """A cache of the last recomputed tensor.

    Layers that read the same tensor run backward one after the other, so one place is
    enough.
    """

    def __init__(self) -> None:
        self.recipe: _Recipe | None = None
        self.tensor = torch.empty(0)

    def note_norm(
        self, norm: Any, given: tuple[Any, ...], named: dict[str, Any], output: Any
    ) -> None:
        """Attach a recipe to the output of a norm (a forward hook)."""
        if not (torch.is_grad_enabled() and isinstance(output, Tensor)):
            return
        if len(given) != 1 or named:  # for instance a norm with a gate as input
            return
        x, forward = given[0].detach(), type(norm).forward  # bypasses the hooks
        _note(output, _Recipe(self, lambda: forward(norm, x)))


class _Recipe:
    """A recipe whose result is shared by consecutive calls.

    It holds no reference to itself: its tensors must be freed with the graph, not at
    the next garbage collection.
    """

    def __init__(self, slot: _Slot, make: Recipe) -> None:
        self._slot, self._make = slot, make

    @torch.no_grad()
    def __call__(self) -> Tensor:
        if self._slot.recipe is not self:
            self._slot.tensor, self._slot.recipe = self._make(), self
        return self._slot.tensor


def _note(tensor: Tensor, recipe: Recipe) -> None:
    setattr(tensor, _NAME, (recipe, tensor._version))


def _set_gated_forward(module: Any, slot: _Slot) -> None:
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
    """act(gate) · up, which keeps the two factors for backward and not the product."""

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
    """Return whether a module is a norm without buffers and submodules."""
    parts = [*module.children(), *module.buffers()]
    return "norm" in type(module).__name__.lower() and not parts


@torch.no_grad()
def _is_plain(module: Any) -> bool:
    """Return whether an MLP computes exactly down(act(gate(x)) · up(x)).

    Found out by comparing both on a probe [1, 3, width].
    """
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


_Kernel = Callable[[Tensor, Tensor], Tensor]


def accelerate_linears(model: nn.Module) -> None:
    """Replace the forward pass of all plain linear layers of a model on the CPU.

    The layers, with a LoRA or without, compute in bfloat16 under bfloat16 autocast,
    else in their own dtype. Layers of other kinds stay as they are.
    """
    inner = {
        id(layer.base_layer) for layer in model.modules() if hasattr(layer, "lora_A")
    }
    for layer in model.modules():
        if hasattr(layer, "lora_A"):
            if (name := _plain_adapter(layer)) is not None:
                _set_forward(layer, _Adapted(layer, name))
        elif type(layer) is nn.Linear and id(layer) not in inner:
            _set_forward(layer, _Dense(layer))


def _set_forward(layer: Any, forward: Callable[[Tensor], Tensor]) -> None:
    layer.forward = forward


def product(x: Tensor, weight: Tensor) -> Tensor:
    """Return x · weightᵀ [n, outputs] for x [n, inputs] and weight [outputs, inputs].

    Either may be a transposed view.
    """
    if x.dtype == torch.float32 and x.device.type == "cpu" and x.shape[0] >= _FEW:
        return _kernel()(x, weight)
    return x @ weight.t()


class Rounded:
    """A weight's bfloat16 copy, kept while the weight is frozen.

    A trained weight is rounded at each use: it does not show that an optimiser has
    changed it, since torch's fused ones leave `Tensor._version` as it was.
    """

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._version = -1
        self._half: Tensor | None = None

    def __call__(self) -> Tensor:
        """Return the weight in bfloat16; the same tensor where it is in bfloat16
        already."""
        if self._weight.requires_grad:
            self._half = None  # made before the weight was trained
            return self._weight.detach().to(HALF)
        if self._half is None or self._version != self._weight._version:
            self._version = self._weight._version
            self._half = self._weight.detach().to(HALF)
        return self._half


def computes_in_half() -> bool:
    """Return whether bfloat16 autocast is on for the CPU."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is HALF


def _in_half(x: Tensor) -> Tensor:
    """Return an input in bfloat16, rounded once for all layers that read it."""
    if x.dtype is HALF:
        return x
    half: Tensor | None = getattr(x, _HALVED, None)
    if half is None or half.requires_grad != _recorded(x):
        half = x.to(HALF)
        round_recipe(x, half)
        setattr(x, _HALVED, half)  # freed together with the input
    return half


def _recorded(x: Tensor) -> bool:
    return x.requires_grad and torch.is_grad_enabled()


class _Dense:
    """The forward pass of a linear layer whose weight may be trained."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer
        self._rounded = Rounded(layer.weight)

    def __call__(self, x: Tensor) -> Tensor:
        layer, used = self._layer, self._layer.weight
        if computes_in_half():
            x, used = _in_half(x), self._rounded()
        apply: Any = _DenseProduct.apply
        y: Tensor = apply(x, layer.weight, layer.bias, used.detach())
        return y


class _DenseProduct(torch.autograd.Function):
    """x · Wᵀ + b for x [..., inputs], W [outputs, inputs], b [outputs].

    Computed with `used`: W, or W rounded to bfloat16. Where x has a recipe, it is
    recomputed in backward instead of kept.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, used: Tensor
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        y = product(flat, used)
        if bias is not None:
            y += bias
        trained = ctx.needs_input_grad[1]
        ctx.recipe = recipe_of(x) if trained else None
        kept = flat if trained and ctx.recipe is None else None
        ctx.save_for_backward(kept, used)
        ctx.shape, ctx.dtype = x.shape, weight.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept, used = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = product(grad, used.t()).view(ctx.shape)
        if ctx.needs_input_grad[1]:
            flat = _again(kept, ctx)
            to_weight = product(grad.t(), flat.t()).to(ctx.dtype)
        if ctx.needs_input_grad[2]:
            to_bias = grad.sum(0, dtype=ctx.dtype)
        return to_x, to_weight, to_bias, None


def _again(saved: Tensor | None, ctx: Any) -> Tensor:
    """Return a layer's input [n, inputs]: as saved, or recomputed, which works once."""
    if saved is not None:
        return saved
    x: Tensor = ctx.recipe()
    ctx.recipe = None  # frees its tensors during backward, like saved tensors
    return x.reshape(-1, x.shape[-1])


class _Adapted:
    """The forward pass of a frozen linear layer with a LoRA: W x + s B A x.

    Source: Hu et al. 2021, "LoRA".
    """

    def __init__(self, layer: Any, name: str) -> None:
        self._layer = layer
        self._whole = layer.forward
        self._base: nn.Linear = layer.base_layer
        self._down: nn.Linear = layer.lora_A[name]
        self._up: nn.Linear = layer.lora_B[name]
        self._scale: float = layer.scaling[name]
        self._rounded = Rounded(self._base.weight)

    def __call__(self, x: Tensor) -> Tensor:
        if self._layer.disable_adapters or self._layer.merged:
            plain: Tensor = self._whole(x)
            return plain
        weight = self._base.weight
        if computes_in_half():
            x, weight = _in_half(x), self._rounded()
        apply: Any = _AdaptedProduct.apply
        up = self._up.weight * self._scale
        y: Tensor = apply(x, weight.detach(), self._down.weight, up)
        return y if self._base.bias is None else y + self._base.bias.to(y.dtype)


class _AdaptedProduct(torch.autograd.Function):
    """W x + B A x for a frozen W [outputs, inputs].

    A is [rank, inputs], B [outputs, rank] with the scale in it, x [..., inputs]. Where
    x has a recipe, it is recomputed in backward instead of kept.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, down: Tensor, up: Tensor
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        a, b = down.to(flat.dtype), up.to(flat.dtype)
        inner = flat @ a.t()  # [n, rank]
        y = product(flat, weight).addmm_(inner, b.t())
        ctx.recipe = recipe_of(x)
        kept = flat if ctx.recipe is None else None
        ctx.save_for_backward(kept, inner, weight, a, b)
        ctx.shape, ctx.dtype = x.shape, down.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        kept, inner, weight, a, b = ctx.saved_tensors
        grad = grads[0].reshape(-1, grads[0].shape[-1])
        to_inner = grad @ b  # [n, rank]
        to_x = None
        if ctx.needs_input_grad[0]:
            to_x = product(grad, weight.t()).addmm_(to_inner, a).view(ctx.shape)
        to_down = (to_inner.t() @ _again(kept, ctx)).to(ctx.dtype)
        to_up = (grad.t() @ inner).to(ctx.dtype)
        return to_x, None, to_down, to_up


def _plain_adapter(layer: Any) -> str | None:
    """Return the active adapter's name if the layer is exactly W x + b + s B A x."""
    names = list(getattr(layer, "active_adapters", ()))
    if type(getattr(layer, "base_layer", None)) is not nn.Linear or len(names) != 1:
        return None
    name: str = names[0]
    special = getattr(layer, "lora_variant", {})
    dropout = layer.lora_dropout[name]
    plain = name not in special and isinstance(dropout, nn.Identity)
    frozen = not any(p.requires_grad for p in layer.base_layer.parameters())
    return name if plain and frozen and layer.lora_B[name].bias is None else None


_found: list[_Kernel] = []


def _kernel() -> _Kernel:
    """Return oneDNN's float32 product if it is there and right, else torch's own."""
    if not _found:
        _found.append(_onednn if _onednn_works() else functional.linear)
    return _found[0]


def _onednn(x: Tensor, weight: Tensor) -> Tensor:
    y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return y


def _onednn_works() -> bool:
    x = torch.linspace(-1, 1, 64 * 48).view(64, 48)
    weight = torch.linspace(1, -2, 80 * 48).view(80, 48)
    try:
        return all(
            torch.allclose(_onednn(a, b), a @ b.t(), atol=1e-4)
            for a, b in ((x, weight), (x, weight.t().contiguous().t()), (x.t(), x.t()))
        )
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
