"""The matrix products of a training on the processor: the same numbers, sooner.

Owns how a linear layer, with or without an adapter, is computed and differentiated.
Three things are won over the layers as they come: torch gives float32 products of the
CPU to a library that is slow on some makers' processors, and here they go to oneDNN;
an adapter's product is added in place; and in bfloat16 a weight is rounded once, not
at every use, an input once for all layers that read it. Knows no loss and no data.

In what follows x is [n, inputs], a weight [outputs, inputs], as torch keeps them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lmtui.train.remade import recipe_of, round_recipe

HALF = torch.bfloat16

_FEW = 32  # rows; below, preparing oneDNN's kernel for yet another shape costs more
_HALVED = "_lmtui_halved"  # the attribute of an input that holds it in bfloat16
_Kernel = Callable[[Tensor, Tensor], Tensor]


def quicken(model: nn.Module) -> None:
    """Let all plain linear layers of a model on the CPU be computed here.

    They compute in bfloat16 where autocast says so, else in their own dtype. Layers
    that are no plain ones stay as they are.
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
    """x · weightᵀ [n, outputs]; either may be a transposed view."""
    if x.dtype == torch.float32 and x.device.type == "cpu" and x.shape[0] >= _FEW:
        return _kernel()(x, weight)
    return x @ weight.t()


class Rounded:
    """A weight in bfloat16, rounded anew only when it has changed."""

    def __init__(self, weight: Tensor) -> None:
        self._weight = weight
        self._version = -1
        self._half: Tensor | None = None

    def __call__(self) -> Tensor:
        """The weight in bfloat16; the tensor itself where it is."""
        if self._half is None or self._version != self._weight._version:
            self._version = self._weight._version
            self._half = self._weight.detach().to(HALF)
        return self._half


def computes_in_half() -> bool:
    """Whether autocast is on for the CPU, and to bfloat16."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is HALF


def _in_half(x: Tensor) -> Tensor:
    """An input in bfloat16, rounded once for all layers that read it."""
    if x.dtype is HALF:
        return x
    half: Tensor | None = getattr(x, _HALVED, None)
    if half is None or half.requires_grad != _recorded(x):
        half = x.to(HALF)
        round_recipe(x, half)
        setattr(x, _HALVED, half)  # as long as the input lives
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
    """x · Wᵀ + b, computed with `used`, a rounded W or W itself; x is not kept where
    there is a recipe for it."""

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


def _again(kept: Tensor | None, ctx: Any) -> Tensor:
    """The input of a layer, [n, inputs]: as it was kept, or made again, for once."""
    if kept is not None:
        return kept
    x: Tensor = ctx.recipe()
    ctx.recipe = None  # as what is saved, it goes on the way back
    return x.reshape(-1, x.shape[-1])


class _Adapted:
    """The forward pass of a linear layer beside whose frozen weight stands an adapter
    (Hu et al. 2021): W x + s B A x."""

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
    """W x + B A x with a frozen W; A is [rank, inputs], B [outputs, rank]; x is not
    kept where there is a recipe for it."""

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
    """The name of the adapter of a layer that is W x + b + s B A x and no more."""
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
    """oneDNN's float32 product where torch has it and it is right, else torch's own."""
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
