"""Int4 and int8 matrices with group quantisation, for torch's int4 kernel on CPUs.

An int8 matrix is multiplied as two int4 halves, which is exact, since torch has no int8
kernel with groups. Knows no file and no model. N is the number of rows (outputs), K of
columns (inputs), m of inputs.
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
"""Columns that share a scale: as in GGUF files, and the smallest group that the kernel
takes."""

ROWS = 16
"""The kernel takes matrices whose number of rows is a multiple of this."""

_PART = 2**25  # weights that are packed at a time

FEW = 24
"""Number of inputs up to which the packed product is faster than the bfloat16 one;
measured with AVX512."""


@dataclass(frozen=True, slots=True)
class GroupQuantized:
    """A group-quantised matrix [N, K]: w = scale · q + shift."""

    q: Tensor
    """uint8 [N, K]: 0 … 15 with 4 bits, 0 … 255 with 8."""
    scale: Tensor
    """float32 [N, K/32]."""
    shift: Tensor
    """float32 [N, K/32]."""
    bits: int

    def floats(self) -> Tensor:
        """Return the dequantised matrix, float32 [N, K]."""
        grouped = self.q.view(*self.scale.shape, GROUP).float()
        return (grouped * self.scale[..., None] + self.shift[..., None]).flatten(1)

    def rounded(self, bits: int) -> GroupQuantized:
        """Return the matrix quantised to at most `bits` bits."""
        return self if self.bits <= bits else quantise(self.floats(), bits)

    def rows(self, order: Tensor) -> GroupQuantized:
        """Return the matrix with its rows in the order of int64 `order` [N]."""
        return replace(
            self,
            q=self.q[order],
            scale=self.scale[order],
            shift=self.shift[order],
        )


def quantise(weights: Tensor, bits: int) -> GroupQuantized:
    """Quantise a matrix [N, K] to 2^bits equal steps between the least and the greatest
    weight of each group. A group whose weights lie on such steps is kept as it is."""
    grouped = weights.float().view(len(weights), -1, GROUP)  # [N, K/32, 32]
    least, most = grouped.aminmax(dim=-1)
    scale = (most - least) / (2**bits - 1)
    steps = (grouped - least[..., None]) / scale.clamp(min=1e-30)[..., None]
    q = steps.round_().clamp_(0, 2**bits - 1).to(torch.uint8).flatten(1)
    return GroupQuantized(q, scale, least, bits)


def stacked(parts: Sequence[GroupQuantized]) -> GroupQuantized:
    """Stack matrices of the same inputs along the rows, with the greatest of their
    bits."""
    bits = max(part.bits for part in parts)
    parts = [part if part.bits == bits else _widened(part) for part in parts]
    return GroupQuantized(
        torch.cat([part.q for part in parts]),
        torch.cat([part.scale for part in parts]),
        torch.cat([part.shift for part in parts]),
        bits,
    )


def _widened(part: GroupQuantized) -> GroupQuantized:
    """Return an int4 matrix as int8. Its upper halves are all 8, the zero point of the
    kernel, so that no large numbers cancel each other."""
    return GroupQuantized(part.q + 128, part.scale, part.shift - 128 * part.scale, 8)


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """A low-rank matrix of rank r, as its two factors: B A."""

    first: Tensor
    """A, float32 [r, K]."""
    second: Tensor
    """B, float32 [N, r]."""

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs, float32 [m, K]: float32 [m, N]."""
        return F.linear(F.linear(inputs, self.first), self.second)


@dataclass(frozen=True, slots=True)
class Int4Linear:
    """A linear layer packed for torch's int4 kernel."""

    weights: Tensor
    """uint8 [N, K/2], or [N, K] where each int8 number is two halves; in an order that
    depends on the version of torch and the kind of processor."""
    scales: Tensor
    """bfloat16 [groups, N, 2]: the scale of each group, and the weight that q = 8
    stands for."""
    bits: int
    dense: Tensor | None = None
    """bfloat16 [N, K]: the weights again, where this is faster for many inputs."""
    lora: LoraWeights | None = None
    """A LoRA adapter that is added to each product."""

    @classmethod
    def of(cls, groups: GroupQuantized, *, dense: bool) -> Int4Linear:
        """Pack a matrix whose N is a multiple of 16; `dense` keeps a bfloat16 copy as
        well."""
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
        """The dtype of its inputs."""
        return torch.bfloat16

    @property
    def rounds(self) -> bool:
        """Whether products of many inputs are rounded to bfloat16."""
        return True

    @property
    def rows(self) -> int:
        """N, the number of outputs."""
        return len(self.weights)

    @property
    def columns(self) -> int:
        """K, the number of inputs."""
        return len(self.scales) * GROUP // (self.bits // 4)

    @property
    def number_format(self) -> str:
        """The format of its weights: `int8` or `int4`."""
        return f"int{self.bits}"

    def with_lora(self, lora: LoraWeights) -> Int4Linear:
        """Return the same layer with a LoRA adapter."""
        return replace(self, lora=lora)

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs [m, K]: bfloat16 [m, N], or float32 with an
        adapter."""
        inputs = inputs.bfloat16()
        product = self._times(inputs)
        if self.lora is None:
            return product
        return self.lora.times(inputs.float()).add_(product)

    def _times(self, inputs: Tensor) -> Tensor:
        if self.dense is not None and inputs.shape[0] > FEW:
            return F.linear(inputs, self.dense)
        if self.bits == 8:
            inputs = torch.cat([inputs, inputs], 1)
        product: Tensor = _int4_product(inputs, self.weights, GROUP, self.scales)
        return product


_int4_product = torch.ops.aten._weight_int4pack_mm_for_cpu.default


class HalfWeight:
    """The LM head: float16 weights [N, K], float32 inputs and products.

    The inputs stay float32, so that the logits have far finer steps than those of other
    formats of as few bytes. Processors other than x86 have no such kernel; there the
    weights are held in float32.
    """

    def __init__(self, weights: Tensor) -> None:
        """Take `weights`, float16 [N, K]; they also serve as the embedding."""
        self.weights = weights
        if not has_fast_half():
            self._multiply: Future[Multiply] = Future()
            self._multiply.set_result(partial(F.linear, weight=weights.float()))
            return
        # Packing takes 0.3 s. It holds no GIL and uses no OpenMP threads, so that the
        # tokenizer and the template can be read meanwhile.
        aside = ThreadPoolExecutor(1)
        self._multiply = aside.submit(half_product, weights)
        aside.shutdown(wait=False)

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs, float32 [m, K]: float32 [m, N]."""
        return self._multiply.result()(inputs)


def half_product(weights: Tensor) -> Multiply:
    """Return the product with a float16 matrix [N, K] by fbgemm's kernel. The matrix is
    packed in parts, so that only one part is float32 at a time."""
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
    """Return whether torch has a kernel for float16 weights with float32 inputs
    (fbgemm)."""
    return "fbgemm" in torch.backends.quantized.supported_engines
