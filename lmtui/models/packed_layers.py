"""Packed weights inside the library's own layers, for models of any other shape.

Owns which matrices of a model are packed: those of its layers, whose sizes the kernel
takes. Everything else, the embedding and the head above all, stays as it was. Knows no
file: what is rounded are the weights of a model that was loaded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lmtui.models.packing import GROUP, ROWS, Groups, Packed, quantise

_SAME = 1e-3  # of a step: a matrix that is that near to 16 steps had no more


class PackedLinear(nn.Module):
    """In place of a linear layer: its product in bfloat16, its bias in float32."""

    def __init__(self, packed: Packed, bias: Tensor | None) -> None:
        super().__init__()
        self._packed = packed
        self._bias = bias

    def forward(self, inputs: Tensor) -> Tensor:
        """The product of inputs [..., K]: [..., N], in their dtype."""
        flat = inputs.reshape(-1, inputs.shape[-1])
        product = self._packed.times(flat.bfloat16()).to(inputs.dtype)
        if self._bias is not None:
            product = product + self._bias
        return product.view(*inputs.shape[:-1], -1)


def pack_layers(model: Any, bits: int, *, dense: bool) -> int:
    """Replace the matrices of a model's layers by such of at most so many bits, where
    the kernel takes them; the bits of most of them, 0 where there were none."""
    counts = {4: 0, 8: 0}
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if module is head or (weights := _matrix(module)) is None:
                continue
            groups = _rounded(weights, bits)
            counts[groups.bits] += weights.numel()
            packed = Packed.of(groups, dense=dense)
            setattr(parent, name, PackedLinear(packed, module.bias))
    if not any(counts.values()):
        return 0
    return 8 if counts[8] > counts[4] else 4


def _matrix(module: nn.Module) -> Tensor | None:
    """float32 [N, K] of a linear layer, if it can be packed."""
    if isinstance(module, Conv1D):  # it keeps its matrix as [in, out]
        weights = module.weight.detach().t()
    elif type(module) is nn.Linear:
        weights = module.weight.detach()
    else:
        return None
    rows, columns = weights.shape
    fits = rows % ROWS == 0 and columns % GROUP == 0
    return weights.float().contiguous() if fits else None


def _rounded(weights: Tensor, bits: int) -> Groups:
    """In 4 bits where that is what is wanted, or where nothing is lost by it."""
    few = quantise(weights, 4)
    if bits == 4:
        return few
    steps = few.scale.repeat_interleave(GROUP, 1)
    off = (few.floats() - weights).abs() <= _SAME * steps + 1e-12
    return few if bool(torch.all(off)) else quantise(weights, 8)
