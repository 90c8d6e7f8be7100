"""Load Llama-shaped models whose 16-bit weights are used as they lie in the files.

The weights are memory-mapped; none is copied or rounded. The cache keeps only the
configuration and the tokenizer. A model with anything unusual
falls back to transformers, which also explains damaged files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.kernels import build
from lmtui.kernels.half_matmul import FORMATS, HalfMatmulKernel, Multiply
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.checkpoint_tensors import FolderTensors
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.linear import (
    Embedding,
    Linear,
    LMHead,
    LoraWeights,
    MatrixRows,
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
    LIBRARY,
    LlamaWeights,
    Naming,
    require_shapes,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress

FEW = 24
"""Number of inputs up to which the compiled product is faster than torch's; measured
with AVX-512."""
_BLOCK = 2**22  # weights that are converted to float32 at a time


@dataclass(frozen=True)
class HalfLinear:
    """A linear layer of 16-bit weights in mapped files, stacked along the rows."""

    parts: tuple[Tensor, ...]
    """[N_i, K], stacked to [N, K], all of one 16-bit dtype."""
    products: HalfMatmulKernel
    rounds: bool
    """Whether products of many inputs are rounded to bfloat16."""
    places: Tensor | None = None
    """int64 [N]: the row of the stack that each output row takes; None for the stack's
    own order."""
    lora: LoraWeights | None = None
    """A LoRA adapter that is added to each product."""

    @property
    def rows(self) -> int:
        """N, the number of outputs."""
        return sum(map(len, self.parts))

    @property
    def columns(self) -> int:
        """K, the number of inputs."""
        return self.parts[0].shape[1]

    @property
    def number_format(self) -> str:
        """The dtype of its weights: `bfloat16` or `float16`."""
        return str(self.parts[0].dtype).removeprefix("torch.")

    def with_lora(self, lora: LoraWeights) -> HalfLinear:
        """Return the same layer with a LoRA adapter."""
        return replace(self, lora=lora)

    def times(self, inputs: Tensor) -> Tensor:
        """Return the product with inputs, float32 [m, K]: float32 [m, N]."""
        return self._few(inputs) if len(inputs) <= FEW else self._many(inputs)

    @cached_property
    def _few(self) -> Multiply:
        plain = self.products.of(self.parts, self.places)
        if self.lora is None:
            return plain
        first = self.products.of([self.lora.first], None)
        second = self.products.of([self.lora.second], None)
        return lambda inputs: plain(inputs).add_(second(first(inputs)))

    def _many(self, inputs: Tensor) -> Tensor:
        product = self._alone(inputs)
        if self.lora is None:
            return product
        return product.add_(self.lora.times(inputs))

    def _alone(self, inputs: Tensor) -> Tensor:
        many = _rounded if self.rounds else _in_blocks
        found = torch.cat([many(inputs, part) for part in self.parts], 1)
        return found if self.places is None else found[:, self.places]


class MappedHalfHead:
    """The LM head, weights [V, D] in 16 bits: float32 products for any number of
    inputs."""

    def __init__(self, weights: Tensor, products: HalfMatmulKernel) -> None:
        self.weights = weights
        self.times = products.of([weights], None)


def _rounded(inputs: Tensor, weights: Tensor) -> Tensor:
    """Multiply in bfloat16, and return float32."""
    return F.linear(inputs.bfloat16(), weights).float()


def _in_blocks(inputs: Tensor, weights: Tensor) -> Tensor:
    """Multiply in float32, block by block, to bound the memory of converted weights."""
    rows = max(1, _BLOCK // weights.shape[1])
    blocks = [F.linear(inputs, block.float()) for block in torch.split(weights, rows)]
    return torch.cat(blocks, 1)


def load_half(name: str, files: ModelFolder, on_progress: OnProgress) -> LoadedModel:
    """Load the model in a folder with its 16-bit weights as they are.

    Raises:
        NotSupported: the Llama backend can't run the model.
        LmtuiError: it can't be read, or is too big.
    """
    if files.config.get("quantization_config"):
        raise NotSupported(
            "its weights are quantised in a format that is not supported"
        )
    _require_shapes(files)
    have = hardware.available_ram()
    number_format = str(FORMATS[files.dtype]).removeprefix("torch.")
    memory.require_memory(files.parameters, number_format, have, where="cpu")
    return load_mapped(name, HalfWeights(files), on_progress)


def _require_shapes(files: ModelFolder) -> None:
    """Check that the tensors have the shapes that the configuration implies.

    Raises:
        NotSupported: they have others.
    """
    config = files.config
    try:
        shape, vocabulary = shape_of(config), config["vocab_size"]
        require_shapes(shape, vocabulary, files.shapes, Naming.library())
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise NotSupported(
            f"its tensors do not match its configuration: {error}"
        ) from error


@dataclass(frozen=True)
class HalfWeights:
    """The 16-bit weights in a folder; see `mapped.MappedWeights`."""

    checkpoint: ModelFolder
    kind = "stored"
    formats = ()
    rounds = False

    def files(self, folder: Path) -> list[Path]:
        """See `MappedWeights`."""
        return [file.path for file in self.checkpoint.weights]

    def write(self, config: dict[str, Any], folder: Path) -> None:
        """See `MappedWeights`: nothing is missing."""

    def read(self, folder: Path, config: dict[str, Any]) -> LlamaWeights:
        """See `MappedWeights`."""
        plan = kernel_plan(config, self.formats)
        products, kernels = checked_kernel(plan, build.HALF_MATMUL, HalfMatmulKernel)
        files = _Files(self.checkpoint, products)
        files.require_head(tied=bool(config.get("tie_word_embeddings")))
        rope = frequencies_of(config, self.checkpoint)
        return read_mapped(config, rope, files, Naming.library(), kernels)


class _Files(FolderTensors):
    """The tensors in a model's files, as 16-bit matrices."""

    def __init__(self, files: ModelFolder, products: HalfMatmulKernel) -> None:
        super().__init__(files)
        self._format = FORMATS[files.dtype]
        self._products = products
        brief = self._format is torch.bfloat16
        # Rounding float16 to bfloat16 would lose three bits of each weight.
        self._rounds = brief and hardware.fast_at_bfloat16(torch.device("cpu"))

    def require_head(self, *, tied: bool) -> None:
        """Check that the LM head is stored, or tied, as the configuration says.

        Raises:
            NotSupported: it is another one, or missing.
        """
        embedding, head = LIBRARY["embedding"], LIBRARY["head"]
        if head not in self:
            right = tied
        else:
            right = not tied or torch.equal(self.tensor(embedding), self.tensor(head))
        if not right:
            raise NotSupported("its output layer does not match its configuration")

    def linear(self, parts: Sequence[MatrixRows]) -> Linear:
        """See `linear.Matrices`."""
        tensors = tuple(self.rows(part.name, part.rows, part.columns) for part in parts)
        return HalfLinear(tensors, self._products, self._rounds, row_order(parts))

    def rows(self, name: str, count: int, width: int) -> Tensor:
        """See `linear.Matrices`."""
        tensor = of_shape(self.tensor(name), count, width)
        if tensor.dtype is not self._format or not tensor.is_contiguous():
            raise ValueError(f"{name} is {tensor.dtype}, most others {self._format}")
        return tensor

    def head(self, rows: Embedding) -> LMHead:
        """See `linear.Matrices`."""
        assert isinstance(rows, Tensor)
        return MappedHalfHead(rows, self._products)
