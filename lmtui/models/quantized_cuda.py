"""Int4 linear layers for torch's CUDA kernel, inside transformers models.

A product of each matrix is compared with the dequantised one when it is packed; a
matrix that fails, or has sizes that the kernel does not take, stays in bfloat16. The
kernel works in CUDA graphs. N is the number of rows (outputs), K of columns (inputs).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmtui.models import hardware
from lmtui.models.checkpoint import FLOATS
from lmtui.models.gguf.header import read_gguf_header
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.int4 import FEW, GROUP, GroupQuantized, quantise
from lmtui.models.loaded_model import LoadedModel, LoadOptions
from lmtui.models.quantize_choice import DENSE_SHARE, FallbackReason
from lmtui.models.quantized_layers import PackedLinear

_ROWS = 8  # the kernel takes multiples of this number of rows
_TILE = 16  # columns that the kernel multiplies at once
_TILES = (8, 4, 2)  # numbers of tiles that can lie together; more are read faster
_NEAR = 0.02  # relative to the largest number of a product, whose sums are in bfloat16


def cuda_quantization(
    device: torch.device, path: Path, how: LoadOptions
) -> FallbackReason:
    """Return how a transformers model is held on a GPU, where its weights are
    quantised.

    Raises:
        NotSupported: it is loaded as usual, the GPU lacks bfloat16, or int8 was asked
            for, for which torch has no CUDA kernel with groups.
    """
    if how.quantize == "int8":
        raise NotSupported("on a GPU there is no kernel of 8 bits for it")
    if not hardware.fast_at_bfloat16(device):
        raise NotSupported("this GPU does not compute in bfloat16")
    if how.quantize == "int4" and how.layers:
        return FallbackReason("", layers=True, dtype="bfloat16")
    if how.quantize == "int4":
        return FallbackReason(
            "on a GPU no adapter is beside packed weights", dtype="bfloat16"
        )
    header = read_gguf_header(path) if path.is_file() else None
    if header and next(iter(header.by_type), "F32") not in FLOATS:
        return FallbackReason("on a GPU its weights are bfloat16", dtype="bfloat16")
    raise NotSupported(f"it runs on {device}")


def quantize_layers_cuda(exact: LoadedModel) -> LoadedModel:
    """Quantise the linear layers of a transformers model to int4, in place; where none
    can be, return the model with the reason."""
    room = hardware.available_memory(exact.device)
    dense = 2 * exact.facts.parameters * DENSE_SHARE <= room
    if why := pack_layers(exact.model, dense=dense):
        return replace(exact, why=why)
    return replace(exact, precision="fast", layer_bits=CudaPacked.bits)


class CudaPacked:
    """A matrix packed for torch's int4 CUDA kernel."""

    bits = 4

    def __init__(self, groups: GroupQuantized, *, dense: bool) -> None:
        """Pack 4-bit `groups` on the GPU; `dense` keeps the matrix in bfloat16 as well,
        which is faster for many inputs."""
        packed, scales = layout(groups)
        tiles = tiles_of(groups.q.shape[1])
        self._weights = torch._convert_weight_to_int4pack(packed, tiles)
        self._scales = scales
        self._dense = groups.floats().bfloat16() if dense else None

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs, bfloat16 [m, K]: bfloat16 [m, N]."""
        if self._dense is not None and inputs.shape[0] > FEW:
            return F.linear(inputs, self._dense)
        return self.product(inputs)

    def product(self, inputs: Tensor) -> Tensor:
        """Return the same product by the int4 kernel, for any number of inputs."""
        product: Tensor = torch._weight_int4pack_mm(
            inputs.contiguous(), self._weights, GROUP, self._scales
        )
        return product


def layout(groups: GroupQuantized) -> tuple[Tensor, Tensor]:
    """Return a 4-bit matrix in the layout of the kernel: uint8 [N, K/2], of two
    neighbours the first in the upper half; bfloat16 [K/32, N, 2], the scale and the
    weight of q = 8."""
    packed = (groups.q[:, ::2] << 4) | groups.q[:, 1::2]
    scales = torch.stack([groups.scale.t(), (groups.shift + 8 * groups.scale).t()], -1)
    return packed.contiguous(), scales.bfloat16().contiguous()


def tiles_of(columns: int) -> int:
    """Return how many tiles lie together for this number of columns; 0 where none
    fit."""
    return next((tiles for tiles in _TILES if columns % (tiles * _TILE) == 0), 0)


def pack_layers(model: Any, *, dense: bool) -> str:
    """Quantise the linear layers of a model, in place, where the kernel takes their
    sizes. Return why there are none, or an empty string."""
    head, count, why = model.get_output_embeddings(), 0, "no matrix has fitting sizes"
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if module is head or type(module) is not nn.Linear:
                continue
            rows, columns = module.weight.shape
            if rows % _ROWS or not tiles_of(columns):
                continue
            try:
                packed = _proven(module.weight.detach(), dense=dense)
            except (RuntimeError, AttributeError) as error:
                why = f"the kernel of 4 bits does not work here: {_line(error)}"
                continue
            linear = PackedLinear(packed, module.bias, module.weight.numel())
            setattr(parent, name, linear)
            count += 1
    return "" if count else why


def _proven(weights: Tensor, *, dense: bool) -> Any:
    """Return a matrix packed, checked to multiply correctly.

    Raises:
        RuntimeError: its product is wrong.
    """
    groups = quantise(weights, 4)
    packed = CudaPacked(groups, dense=dense)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2, weights.shape[1], generator=generator)
    inputs = inputs.to(weights.device, torch.bfloat16)
    plain = F.linear(inputs.float(), groups.floats())
    off = (packed.product(inputs).float() - plain).abs().max() / plain.abs().max()
    if not float(off) < _NEAR:
        raise RuntimeError(f"a product is off by {float(off):.2g}")
    return packed


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
