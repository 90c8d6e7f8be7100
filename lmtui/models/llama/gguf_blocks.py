"""Load Llama-shaped GGUF files whose quantised weights are used as they lie there.

The file is memory-mapped; no weight is copied or rounded. The cache keeps only the
configuration, the tokenizer and the RoPE frequencies. Without a compiler, weights are
packed instead (`llama/load`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lmtui.kernels import build
from lmtui.kernels.gguf_matmul import (
    FORMATS,
    BlockMatrix,
    GgufMatmulKernel,
    StackedMatrix,
)
from lmtui.models import hardware, memory
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.int4 import LoraWeights
from lmtui.models.llama.linear import Embedding, Linear, LMHead, MatrixRows, of_shape
from lmtui.models.llama.mapped import (
    checked_kernel,
    load_mapped,
    read_mapped,
    row_order,
)
from lmtui.models.llama.weights import (
    FAMILIES,
    LlamaWeights,
    Naming,
    require_shapes,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress

FEW = 14
"""Number of inputs up to which rows are multiplied block by block; more share a tile of
dequantised weights."""
_TILE = 2**21  # weights that are dequantised at a time
_ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class BlockLinear:
    """A linear layer of quantised weights in a mapped file, stacked along the rows."""

    matrix: StackedMatrix
    """[N, K], with the LoRA adapter if there is one."""
    kernel: GgufMatmulKernel

    @property
    def takes(self) -> torch.dtype:
        """The dtype of its inputs."""
        return torch.float32

    @property
    def rounds(self) -> bool:
        """Whether products of many inputs are rounded to bfloat16."""
        return True

    @property
    def rows(self) -> int:
        """N, the number of outputs."""
        return self.matrix.rows

    @property
    def columns(self) -> int:
        """K, the number of inputs."""
        return self.matrix.columns

    @property
    def number_format(self) -> str:
        """The format of its weights: `Q4_K`, …"""
        return self.matrix.parts[0].format

    def with_lora(self, lora: LoraWeights) -> BlockLinear:
        """Return the same layer with a LoRA adapter."""
        factors = lora.first, lora.second
        return replace(self, matrix=replace(self.matrix, lora=factors))

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs [m, K]: [m, N], float32 for a few inputs or
        with an adapter, otherwise bfloat16."""
        if len(inputs) <= FEW:
            return self.kernel.matmul(self.matrix, inputs.float())
        product = self._many(inputs.bfloat16())
        if self.matrix.lora is None:
            return product
        return LoraWeights(*self.matrix.lora).times(inputs.float()).add_(product)

    def _many(self, inputs: Tensor) -> Tensor:
        """Multiply in bfloat16, tile by tile of dequantised rows."""
        found = inputs.new_empty(len(inputs), self.rows)
        most = max(1, _TILE // self.columns)
        for first in range(0, self.rows, most):
            tile = self.kernel.tile(self.matrix, first, min(most, self.rows - first))
            out = found[:, first : first + len(tile)]
            torch.mm(inputs, tile.t(), out=out)
        return found


class BlockRows:
    """An embedding [V, D] in a mapped file."""

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

    def times(self, inputs: Tensor) -> Tensor:
        """See `linear.LMHead`."""
        return self._kernel.matmul(self._matrix, inputs)


def load_blocks(name: str, header: GgufHeader, on_progress: OnProgress) -> LoadedModel:
    """Load the model in a GGUF file with its blocks as they are.

    Raises:
        NotSupported: the Llama backend can't run it so.
        LmtuiError: it can't be read, or is too large for the memory.
    """
    if why := why_not_mapped(header):
        raise NotSupported(why)
    memory.require_mapped(header.parameters, header.bytes, hardware.available_ram())
    return load_mapped(name, header, on_progress, _weights)


def why_not_mapped(header: GgufHeader) -> str | None:
    """Return why the blocks of a file can't be used as they are; None where nothing in
    its header speaks against it."""
    if header.architecture not in FAMILIES:
        return f"{header.architecture} is not shaped like Llama"
    matrices = (tensor for tensor in header.tensors if len(tensor.shape) > 1)
    if other := {tensor.type for tensor in matrices} - set(FORMATS):
        return f"it has weights of {', '.join(sorted(other))}"
    if build.compiler_id() is None:
        return f"there is no C++ compiler {build.name()}"
    return None


def _weights(
    header: GgufHeader, config: dict[str, Any], frequencies: Tensor
) -> LlamaWeights:
    """Return the weights in a file, memory-mapped.

    Raises:
        NotSupported: the Llama backend can't run them.
        OSError, ValueError, KeyError: they are damaged.
    """
    scaling = config["rope_parameters"].get("rope_type", "default")
    if _ROPE_FACTORS in header.shapes and scaling == "default":
        raise NotSupported("its RoPE factors are in a tensor only")
    naming = Naming.gguf(header.architecture)
    require_shapes(shape_of(config), config["vocab_size"], header.shapes, naming)
    kernel, folder = checked_kernel(config, build.GGUF_MATMUL, GgufMatmulKernel)
    matrices = _BlockMatrices(header, kernel)
    return read_mapped(config, frequencies, matrices, naming, folder)


class _BlockMatrices(GgufTensors):
    """The tensors of a file, as matrices of blocks."""

    def __init__(self, header: GgufHeader, kernel: GgufMatmulKernel) -> None:
        super().__init__(header)
        self._kernel = kernel

    def linear(self, parts: Sequence[MatrixRows]) -> Linear:
        """See `linear.Matrices`."""
        blocks = tuple(self._blocks_of(p.name, p.rows, p.columns) for p in parts)
        return BlockLinear(StackedMatrix(blocks, row_order(parts)), self._kernel)

    def _blocks_of(self, name: str, count: int, width: int) -> BlockMatrix:
        data, kind = self.blocks(name)
        of_shape(torch.empty(self.shape(name), device="meta"), count, width)
        return BlockMatrix(data.view(count, -1), width, kind)

    def rows(self, name: str, count: int, width: int) -> BlockRows:
        """See `linear.Matrices`."""
        return BlockRows(self._blocks_of(name, count, width), self._kernel)

    def head(self, rows: Embedding) -> LMHead:
        """See `linear.Matrices`."""
        assert isinstance(rows, BlockRows)
        return BlockHead(rows, self._kernel)
