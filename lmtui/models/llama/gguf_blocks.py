"""Load Llama-shaped GGUF files whose weights are used as they lie there.

The file is memory-mapped; no weight is copied or rounded. The cache keeps only the
configuration and the tokenizer. Without a compiler, or on an x86 processor without
AVX2, transformers runs the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from lmtui.kernels import build, cpu_features
from lmtui.kernels.gguf_matmul import (
    FORMATS,
    HALVES,
    BlockMatrix,
    GgufMatmulKernel,
    StackedMatrix,
    bits_of,
)
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.llama.linear import (
    Embedding,
    Linear,
    LMHead,
    LoraWeights,
    MatrixRows,
    WeightSource,
    of_shape,
)
from lmtui.models.llama.mapped import (
    checked_kernel,
    frequencies_of,
    kernel_plan,
    load_mapped,
    read_mapped,
    row_order,
)
from lmtui.models.llama.weights import (
    LlamaWeights,
    Naming,
    require_shapes,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress

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
    def rows(self) -> int:
        """N, the number of outputs."""
        return self.matrix.rows

    @property
    def columns(self) -> int:
        """K, the number of inputs."""
        return self.matrix.columns

    @property
    def number_format(self) -> str:
        """The format of its weights: `Q4_K`, …, `bfloat16`."""
        name = self.matrix.parts[0].format
        return HALVES.get(name, name)

    def with_lora(self, lora: LoraWeights) -> BlockLinear:
        """Return the same layer with a LoRA adapter."""
        factors = lora.first, lora.second
        return replace(self, matrix=replace(self.matrix, lora=factors))

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs, float32 [m, K]: float32 [m, N]."""
        if len(inputs) <= FEW:
            return self.kernel.matmul(self.matrix, inputs)
        product = self._many(inputs)
        if self.matrix.lora is not None:
            product += LoraWeights(*self.matrix.lora).times(inputs)
        return product

    def _many(self, inputs: Tensor) -> Tensor:
        if self.uses_gemm:
            return self.kernel.gemm(self.matrix, inputs)
        if not self.rounds:
            return _by_tiles(self.kernel, self.matrix, inputs)
        return _by_tiles(self.kernel, self.matrix, inputs.bfloat16()).float()


def _by_tiles(
    kernel: GgufMatmulKernel, matrix: StackedMatrix, inputs: Tensor
) -> Tensor:
    """Return the product with inputs [m, K], in their dtype, by tiles of dequantised
    rows: [m, N]."""
    found = inputs.new_empty(len(inputs), matrix.rows)
    most = max(1, _TILE // matrix.columns)
    for first in range(0, matrix.rows, most):
        tile = kernel.tile(matrix, first, min(most, matrix.rows - first))
        out = found[:, first : first + len(tile)]
        torch.mm(inputs, tile.to(inputs.dtype).t(), out=out)
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
        exact = self._kernel.has_gemm and not self._kernel.gemm_rounds
        if len(inputs) <= (FEW if exact else _FEW_STATES):
            return self._kernel.matmul(self._matrix, inputs)
        if exact:
            return self._kernel.gemm(self._matrix, inputs)
        return _by_tiles(self._kernel, self._matrix, inputs)


def load_blocks(name: str, header: GgufHeader, on_progress: OnProgress) -> LoadedModel:
    """Load the model in a GGUF file with its blocks as they are.

    Raises:
        NotSupported: the Llama backend can't run it so.
        LmtuiError: it can't be read, or is too large for the memory.
    """
    memory.require_mapped(header.parameters, header.bytes, hardware.available_ram())
    return load_mapped(name, GgufWeights(header), on_progress)


def has_known_blocks(header: GgufHeader, bits: int) -> bool:
    """Return whether blocks of all formats in a file can be multiplied, and have at
    most `bits` bits."""
    known = (name in FORMATS and bits_of(name) <= bits for name in formats_in(header))
    return all(known)


def why_no_blocks() -> str | None:
    """Return why no blocks can be multiplied on this machine; None where they can."""
    if build.compiler_id() is None:
        return f"there is no C++ compiler {build.name()}"
    if not cpu_features.instruction_class():
        return "this processor has no AVX2"
    return None


@dataclass(frozen=True)
class GgufWeights:
    """The weights in a GGUF file; see `mapped.MappedWeights`."""

    checkpoint: GgufHeader
    kind = "stored"
    rounds = False

    @property
    def formats(self) -> tuple[str, ...]:
        """See `MappedWeights`."""
        return formats_in(self.checkpoint)

    def files(self, folder: Path) -> list[Path]:
        """See `MappedWeights`."""
        return [self.checkpoint.path]

    def write(self, config: dict[str, Any], folder: Path) -> None:
        """See `MappedWeights`: nothing is missing."""

    def read(self, folder: Path, config: dict[str, Any]) -> LlamaWeights:
        """See `MappedWeights`."""
        header = self.checkpoint
        naming, source = Naming.gguf(header.architecture), GgufTensors(header)
        rope = frequencies_of(config, header)
        return read_blocks(source, header, naming, config, rope)


def formats_in(checkpoint: ModelFolder | GgufHeader) -> tuple[str, ...]:
    """Return the formats of a model's matrices, in the order of their names."""
    if isinstance(checkpoint, ModelFolder):
        return (checkpoint.dtype,)
    header = checkpoint
    return tuple(sorted({t.type for t in header.tensors if len(t.shape) > 1}))


class BlockSource(WeightSource, Protocol):
    """A source of weights whose matrices lie in blocks."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, rows first."""

    def blocks(self, name: str) -> tuple[Tensor, str]:
        """Return a tensor's bytes, uint8 [bytes], and the type of its blocks."""


def read_blocks(
    source: BlockSource,
    checkpoint: ModelFolder | GgufHeader,
    naming: Naming,
    config: dict[str, Any],
    rope: Tensor,
) -> LlamaWeights:
    """Return the weights of a source, memory-mapped. `checkpoint` describes its
    tensors, `rope` are the frequencies, float32 [d/2].

    Raises:
        NotSupported: the Llama backend can't run them.
        OSError, ValueError, KeyError: they are damaged.
    """
    shape, vocabulary = shape_of(config), config["vocab_size"]
    require_shapes(shape, vocabulary, checkpoint.shapes, naming)
    plan = kernel_plan(config, formats_in(checkpoint))

    def opened(file: Path) -> GgufMatmulKernel:
        return GgufMatmulKernel(file, plan.formats)

    kernel, folder = checked_kernel(plan, build.GGUF_MATMUL, opened)
    return read_mapped(config, rope, BlockMatrices(source, kernel), naming, folder)


class BlockMatrices:
    """The tensors of a source, as matrices of blocks."""

    def __init__(self, source: BlockSource, kernel: GgufMatmulKernel) -> None:
        self._source, self._kernel = source, kernel
        self._rounds = hardware.fast_at_bfloat16(torch.device("cpu"))

    def __contains__(self, name: str) -> bool:
        return name in self._source

    def floats(self, name: str) -> Tensor:
        """See `linear.WeightSource`."""
        return self._source.floats(name)

    def linear(self, parts: Sequence[MatrixRows]) -> Linear:
        """See `linear.Matrices`."""
        blocks = tuple(self._blocks_of(p.name, p.rows, p.columns) for p in parts)
        # Rounding float16 to bfloat16 would lose three bits of each weight.
        rounds = self._rounds and all(block.format != "F16" for block in blocks)
        return BlockLinear(
            StackedMatrix(blocks, row_order(parts)), self._kernel, rounds
        )

    def _blocks_of(self, name: str, count: int, width: int) -> BlockMatrix:
        data, kind = self._source.blocks(name)
        of_shape(torch.empty(self._source.shape(name), device="meta"), count, width)
        return BlockMatrix(data.view(count, -1), width, kind)

    def rows(self, name: str, count: int, width: int) -> BlockRows:
        """See `linear.Matrices`."""
        return BlockRows(self._blocks_of(name, count, width), self._kernel)

    def head(self, rows: Embedding) -> LMHead:
        """See `linear.Matrices`."""
        assert isinstance(rows, BlockRows)
        return BlockHead(rows, self._kernel)
