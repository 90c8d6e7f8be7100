"""Linear layers, embedding and LM head of weights that stay in files.

Names and sizes are given; knows no layers of a model. D is the width of a model, V its
vocabulary size; N is the number of rows (outputs) of a matrix, K of columns (inputs), m
of inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.kernels.gguf_formats import DTYPES
from lmtui.kernels.gguf_matmul import BlockMatrix, GgufMatmulKernel, StackedMatrix
from lmtui.models import hardware, memory

FEW = 16
"""Number of inputs up to which rows are multiplied block by block; more share
dequantised weights. Where these are in bfloat16, measured with AVX512-BF16: 14 for 135
million weights, 18 to 21 for a billion."""
_FEW_STATES = 48  # the same for the LM head where others multiply its tiles
_TILE = 2**21  # weights that are dequantised at a time


@dataclass(frozen=True)
class BlockLinear:
    """A linear layer of weights in a mapped file, stacked along the rows."""

    matrix: StackedMatrix
    """[N, K], with the LoRA adapter if there is one."""
    kernel: GgufMatmulKernel
    rounds: bool
    """Whether many inputs are rounded to bfloat16, and the weights with them."""

    @property
    def uses_gemm(self) -> bool:
        """Whether the kernel multiplies many inputs."""
        return self.kernel.has_gemm and (self.rounds or not self.kernel.gemm_rounds)

    @property
    def few(self) -> int:
        """The number of inputs up to which they are not rounded to bfloat16 and weights
        are not dequantised."""
        parts = self.matrix.for_few
        in_panels = parts and all(part.in_panels for part in parts)
        usable = in_panels and not self.matrix.lora
        return self.kernel.few_in_panels if usable else FEW

    @property
    def rows(self) -> int:
        return self.matrix.rows

    @property
    def columns(self) -> int:
        return self.matrix.columns

    @property
    def numel(self) -> int:
        """The number of weights."""
        return self.rows * self.columns

    @property
    def number_format(self) -> str:
        """The format of its weights: `Q4_K`, …, `bfloat16`."""
        name = self.matrix.parts[0].format
        return DTYPES.get(name, name)

    def with_lora(self, first: Tensor, second: Tensor) -> BlockLinear:
        """Return the layer with a low-rank matrix B A of rank r added: A is float32
        [r, K], B float32 [N, r]."""
        return replace(self, matrix=replace(self.matrix, lora=(first, second)))

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs, float32 [m, K]: float32 [m, N]."""
        if len(inputs) <= self.few:
            return self.kernel.matmul(self.matrix, inputs)
        return self._add_lora(self._matmul_many(inputs), inputs)

    def _add_lora(self, product: Tensor, inputs: Tensor) -> Tensor:
        if self.matrix.lora is not None:
            first, second = self.matrix.lora
            product += F.linear(F.linear(inputs, first), second)
        return product

    def _matmul_many(self, inputs: Tensor) -> Tensor:
        if self.uses_gemm:
            return self.kernel.gemm(self.matrix, inputs)
        if not self.rounds:
            return _by_tiles(self.kernel, self.matrix, inputs)
        return _by_tiles(self.kernel, self.matrix, inputs.bfloat16()).float()


class ExactLinear(BlockLinear):
    """A linear layer that is unpacked for each product, and rounds nothing."""

    def times(self, inputs: Tensor) -> Tensor:
        product = _by_tiles(self.kernel, self.matrix, inputs)
        return self._add_lora(product, inputs)


def _by_tiles(
    kernel: GgufMatmulKernel, matrix: StackedMatrix, inputs: Tensor
) -> Tensor:
    """Return the product with inputs [m, K], in their dtype, by tiles of dequantised
    rows: [m, N]."""
    outputs = inputs.new_empty(len(inputs), matrix.rows)
    most = max(1, _TILE // matrix.columns)
    for first in range(0, matrix.rows, most):
        count = min(most, matrix.rows - first)
        tile = kernel.tile(matrix, first, count, inputs.dtype)
        torch.mm(inputs, tile.t(), out=outputs[:, first : first + count])
    return outputs


class Panels:
    """Room for copies of a model's weights in panels, by which a few inputs are
    multiplied faster."""

    def __init__(self, kernel: GgufMatmulKernel) -> None:
        self._kernel = kernel
        self._left = min(memory.PANEL_BYTES, hardware.available_ram() // 8)

    def of(self, matrix: StackedMatrix) -> StackedMatrix:
        """Return a matrix with such a copy, if it can have one and there is room."""
        if matrix.rows * matrix.columns * 5 // 8 > self._left:
            return matrix
        made = self._kernel.in_panels(matrix)
        self._left -= sum(part.data.nbytes for part in made.for_few if part.in_panels)
        return made


class BlockRows:
    """An embedding in a mapped file: a row of D numbers for each of V tokens."""

    def __init__(self, matrix: BlockMatrix, kernel: GgufMatmulKernel) -> None:
        self.matrix, self._kernel = matrix, kernel

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Return the rows of int64 `index` [n]: float32 [n, D]."""
        return self._kernel.rows(self.matrix, index)


class BlockHead:
    """The LM head, [V, D] in a mapped file: float32 products for any number of
    inputs."""

    def __init__(self, rows: BlockRows, kernel: GgufMatmulKernel) -> None:
        self._matrix, self._kernel = StackedMatrix((rows.matrix,)), kernel
        self.numel = self._matrix.rows * self._matrix.columns
        """The number of weights."""

    def times(self, inputs: Tensor) -> Tensor:
        """Return the logits of hidden states, float32 [m, D]: float32 [m, V]."""
        exact = self._kernel.has_gemm and not self._kernel.gemm_rounds
        if len(inputs) <= (FEW if exact else _FEW_STATES):
            return self._kernel.matmul(self._matrix, inputs)
        if exact:
            return self._kernel.gemm(self._matrix, inputs)
        return _by_tiles(self._kernel, self._matrix, inputs)


class BlockSource(Protocol):
    """A source of weights whose matrices lie in blocks; `name` is its name of a
    tensor."""

    def __contains__(self, name: str) -> bool: ...

    def floats(self, name: str) -> Tensor:
        """Return a tensor in float32."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, rows first."""

    def blocks(self, name: str) -> tuple[Tensor, str]:
        """Return a tensor's bytes, uint8 [bytes], and the type of its blocks."""


@dataclass(frozen=True, slots=True)
class MatrixRows:
    """A request for a matrix [rows, columns] of a source."""

    name: str
    rows: int
    columns: int
    order: Tensor | None = None
    """int64 [rows]: the source's row that each row takes; None for the source's order.
    """


class BlockMatrices:
    """The tensors of a source, as matrices of blocks."""

    def __init__(self, source: BlockSource, kernel: GgufMatmulKernel) -> None:
        self._source, self._kernel, self._panels = source, kernel, Panels(kernel)
        self._rounds = hardware.fast_at_bfloat16(torch.device("cpu"))

    def __contains__(self, name: str) -> bool:
        return name in self._source

    def floats(self, name: str) -> Tensor:
        """Return a tensor in float32."""
        return self._source.floats(name)

    def linear(self, parts: Sequence[MatrixRows]) -> BlockLinear:
        """Return one linear layer of `parts`, which share their inputs, stacked along
        the rows."""
        blocks = tuple(self._blocks_of(p.name, p.rows, p.columns) for p in parts)
        # Rounding these to bfloat16 would lose bits of each weight.
        rounds = self._rounds and not any(
            block.format in ("F16", "F32") for block in blocks
        )
        matrix = self._panels.of(StackedMatrix(blocks, _row_order(parts)))
        return BlockLinear(matrix, self._kernel, rounds)

    def _blocks_of(self, name: str, count: int, width: int) -> BlockMatrix:
        data, kind = self._source.blocks(name)
        of_shape(torch.empty(self._source.shape(name), device="meta"), count, width)
        return BlockMatrix(data.view(count, -1), width, kind)

    def rows(self, name: str, count: int, width: int) -> BlockRows:
        """Return an embedding of `count` tokens, `width` numbers each."""
        return BlockRows(self._blocks_of(name, count, width), self._kernel)

    def head(self, rows: BlockRows) -> BlockHead:
        """Return the LM head with the weights of an embedding."""
        return BlockHead(rows, self._kernel)


def _row_order(parts: Sequence[MatrixRows]) -> Tensor | None:
    """Return the row of the stacked parts that each output row takes, int64 [N]; None
    where all parts keep their order."""
    if all(part.order is None for part in parts):
        return None
    places, start = [], 0
    for part in parts:
        order = torch.arange(part.rows) if part.order is None else part.order
        places.append(start + order)
        start += part.rows
    return torch.cat(places)


def of_shape(tensor: Tensor, *shape: int) -> Tensor:
    """Return the tensor, checked to have the given shape."""
    if tensor.shape != shape:
        raise ValueError(f"a tensor of {tuple(tensor.shape)} should be of {shape}")
    return tensor
