"""Matrices of few bits, as torch's int4 kernel for CPUs takes them.

Owns the two forms of such a matrix: whole numbers with a scale and a shift for each
group of 32 along a row, and the packed form that is multiplied with. A matrix of 8
bits is multiplied as two halves of 4, which is exact: no kernel of 8 bits has groups.
Knows no file and no model. N is the number of rows (outputs), K of columns (inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.kernels.half_matmul import Multiply

GROUP = 32
"""Columns that share a scale; what GGUF files have, and the finest that the kernel
takes."""

ROWS = 16
"""The kernel takes multiples of so many rows."""

_PART = 2**25  # weights that are packed together

FEW = 24
"""Inputs up to which the packed product is the faster one, where there is another;
measured with AVX512."""


@dataclass(frozen=True, slots=True)
class GroupQuantized:
    """A matrix [N, K] as whole numbers: w = scale · q + shift."""

    q: Tensor
    """uint8 [N, K]: 0 … 15 with 4 bits, 0 … 255 with 8."""
    scale: Tensor
    """float32 [N, K/32]."""
    shift: Tensor
    """float32 [N, K/32]."""
    bits: int

    def floats(self) -> Tensor:
        """The matrix, float32 [N, K]."""
        grouped = self.q.view(*self.scale.shape, GROUP).float()
        return (grouped * self.scale[..., None] + self.shift[..., None]).flatten(1)

    def rounded(self, bits: int) -> GroupQuantized:
        """The same with no more than so many bits."""
        return self if self.bits <= bits else quantise(self.floats(), bits)

    def rows(self, order: Tensor) -> GroupQuantized:
        """The rows in another order."""
        return replace(
            self,
            q=self.q[order],
            scale=self.scale[order],
            shift=self.shift[order],
        )


def quantise(weights: Tensor, bits: int) -> GroupQuantized:
    """Round a matrix [N, K] to 2^bits equal steps from the least to the greatest
    weight of each group; one that has no more different weights is kept as it is."""
    grouped = weights.float().view(len(weights), -1, GROUP)  # [N, K/32, 32]
    least, most = grouped.aminmax(dim=-1)
    scale = (most - least) / (2**bits - 1)
    steps = (grouped - least[..., None]) / scale.clamp(min=1e-30)[..., None]
    q = steps.round_().clamp_(0, 2**bits - 1).to(torch.uint8).flatten(1)
    return GroupQuantized(q, scale, least, bits)


def stacked(parts: Sequence[GroupQuantized]) -> GroupQuantized:
    """Matrices of the same inputs as one, above each other; with as many bits as the
    one that has most."""
    bits = max(part.bits for part in parts)
    parts = [part if part.bits == bits else _widened(part) for part in parts]
    return GroupQuantized(
        torch.cat([part.q for part in parts]),
        torch.cat([part.scale for part in parts]),
        torch.cat([part.shift for part in parts]),
        bits,
    )


def _widened(part: GroupQuantized) -> GroupQuantized:
    """A matrix of 4 bits as one of 8, whose upper halves are all 8: that stands for
    nothing, so that no large numbers cancel each other."""
    return GroupQuantized(part.q + 128, part.scale, part.shift - 128 * part.scale, 8)


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """A matrix of low rank r, in two: B A."""

    first: Tensor
    """A, float32 [r, K]."""
    second: Tensor
    """B, float32 [N, r]."""

    def times(self, inputs: Tensor) -> Tensor:
        """The product with inputs, float32 [m, K]: float32 [m, N]."""
        return F.linear(F.linear(inputs, self.first), self.second)


@dataclass(frozen=True, slots=True)
class Int4Linear:
    """A matrix that can be multiplied with."""

    weights: Tensor
    """uint8 [N, K/2], or [N, K] where each number is two halves; in an order that only
    this version of torch on this kind of processor knows."""
    scales: Tensor
    """bfloat16 [groups, N, 2]: of each group the scale, and what 8 stands for."""
    bits: int
    dense: Tensor | None = None
    """bfloat16 [N, K]: the same again, where that is the faster way for many inputs."""
    beside: LoraWeights | None = None
    """What is added to each product."""

    @classmethod
    def of(cls, groups: GroupQuantized, *, dense: bool) -> Int4Linear:
        """Pack a matrix, whose N is a multiple of 16."""
        scale, shift = groups.scale, groups.shift
        if groups.bits == 4:
            q, zero = groups.q, shift + 8 * scale
        else:  # q = 16 · high + low
            q = torch.cat([groups.q >> 4, groups.q & 15], 1)
            zero = torch.cat([shift + 128 * scale, 8 * scale], 1)
            scale = torch.cat([16 * scale, scale], 1)
        weights = torch._convert_weight_to_int4pack_for_cpu(q.int(), 1)
        scales = torch.stack([scale.t(), zero.t()], -1)
        whole = groups.floats().bfloat16() if dense else None
        return cls(weights, scales.bfloat16().contiguous(), groups.bits, whole)

    @property
    def takes(self) -> torch.dtype:
        """Of its inputs."""
        return torch.bfloat16

    @property
    def rounds(self) -> bool:
        """Whether products of many inputs are rounded to bfloat16."""
        return True

    @property
    def rows(self) -> int:
        """N."""
        return len(self.weights)

    @property
    def columns(self) -> int:
        """K."""
        return len(self.scales) * GROUP // (self.bits // 4)

    @property
    def number_format(self) -> str:
        """Of its weights."""
        return f"int{self.bits}"

    def with_beside(self, beside: LoraWeights) -> Int4Linear:
        """The same with something added to each product."""
        return replace(self, beside=beside)

    def times(self, inputs: Tensor) -> Tensor:
        """The product with inputs, bfloat16 [m, K]: bfloat16 [m, N], or float32 where
        something is added."""
        product = self._times(inputs)
        if self.beside is None:
            return product
        return self.beside.times(inputs.float()).add_(product)

    def _times(self, inputs: Tensor) -> Tensor:
        if self.dense is not None and inputs.shape[0] > FEW:
            return F.linear(inputs, self.dense)
        if self.bits == 8:
            inputs = torch.cat([inputs, inputs], 1)
        product: Tensor = _int4_product(inputs, self.weights, GROUP, self.scales)
        return product


_int4_product = torch.ops.aten._weight_int4pack_mm_for_cpu.default


class HalfWeight:
    """A matrix [N, K] of half precision whose products are float32: the head.

    Its weights are float16, its inputs stay float32, so that the logits have steps far
    below those of any other way to read as few bytes. Without that kernel, on
    processors other than x86, the weights are held in float32.
    """

    def __init__(self, weights: Tensor) -> None:
        """`weights` are float16 [N, K]; with them, rows are looked up."""
        self.weights = weights
        if not has_fast_half():
            self._multiply: Future[Multiply] = Future()
            self._multiply.set_result(partial(F.linear, weight=weights.float()))
            return
        # It takes 0.3 s, in which the tokenizer and the template can be read: it holds
        # no lock of Python's, and is no work that threads of OpenMP share.
        aside = ThreadPoolExecutor(1)
        self._multiply = aside.submit(half_product, weights)
        aside.shutdown(wait=False)

    def times(self, inputs: Tensor) -> Tensor:
        """The product with inputs, float32 [m, K]: float32 [m, N]."""
        return self._multiply.result()(inputs)


def half_product(weights: Tensor) -> Multiply:
    """What multiplies with a matrix [N, K] as `HalfWeight` does, where that is the fast
    way. It is packed in parts, so that only one of them is float32 at a time."""
    rows = max(ROWS, _PART // weights.shape[1])
    packed = [
        torch.ops.quantized.linear_prepack_fp16(part.float(), None)
        for part in torch.split(weights, rows)
    ]
    product: Callable[..., Tensor] = torch.ops.quantized.linear_dynamic_fp16
    if len(packed) == 1:
        return lambda inputs: product(inputs, packed[0])
    return lambda inputs: torch.cat([product(inputs, part) for part in packed], 1)


def has_fast_half() -> bool:
    """Whether there is a kernel for products of half precision."""
    return "fbgemm" in torch.backends.quantized.supported_engines
