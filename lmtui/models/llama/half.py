"""Load Llama-shaped models whose 16-bit weights are used as they lie in the files.

The weights are memory-mapped; none is copied or rounded. The cache keeps only the
configuration, the tokenizer and the RoPE frequencies. A model with anything unusual
falls back to transformers, which also explains damaged files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from lmtui import cache_dir
from lmtui.kernels import build
from lmtui.kernels.build import NotCompiled
from lmtui.kernels.half_matmul import FORMATS, HalfMatmulKernel, Multiply
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.checkpoint_tensors import FolderTensors
from lmtui.models.digests import model_digest
from lmtui.models.llama import cache
from lmtui.models.llama.cache import (
    ModelConverter,
    NotLlama,
    NotSupported,
    cached_model,
)
from lmtui.models.llama.int4 import FEW, LoraWeights
from lmtui.models.llama.linear import Linear, LMHead, MatrixRows, of_shape
from lmtui.models.llama.weights import (
    FAMILIES,
    LIBRARY,
    LlamaWeights,
    Naming,
    WeightReading,
    frequencies_of,
    has_more,
    read_weights,
    require_shapes,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress

_BLOCK = 2**22  # weights that are converted to float32 at a time
# RoPE frequencies, which the model's files don't hold
_FREQUENCIES = "frequencies.json"
_DAMAGED = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
_OTHERWISE = "--quantize int8 rounds its weights"


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
    def takes(self) -> torch.dtype:
        """The dtype of its inputs."""
        return torch.float32

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
    """Multiply in bfloat16, as packed weights do, and return float32."""
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
    kind = str(files.config.get("model_type"))
    if kind not in FAMILIES:
        raise NotSupported(f"{kind} is not shaped like Llama; {_OTHERWISE}")
    if files.config.get("quantization_config"):
        raise NotSupported(
            "its weights are quantised in a format that is not supported"
        )
    _require_shapes(files)
    have = hardware.available_ram()
    number_format = str(FORMATS[files.dtype]).removeprefix("torch.")
    memory.require_memory(files.parameters, number_format, have, where="cpu")
    digest = model_digest(files.path, on_progress)
    folder = cache.folder_of(digest, "stored")
    with ThreadPoolExecutor(1) as aside:
        # Compiling takes two seconds, about as long as importing transformers.
        compiling = aside.submit(_compiled_for, files.config)
        if not cache.is_complete(folder):
            _describe(name, files, on_progress, folder)
    compiling.result()
    seen = cache_dir.identity(folder)
    try:
        return _opened(folder, name, files)
    except _DAMAGED:
        # damaged in a way that `is_complete` does not see
        cache_dir.discard(folder, seen)
        _describe(name, files, on_progress, folder)
        return _opened_again(folder, name, files)


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


def _compiled_for(config: Mapping[str, Any]) -> Path:
    """Return the folder of the kernels for a model with this configuration.

    Raises:
        NotSupported: they can't be compiled.
    """
    try:
        shape = shape_of(config)
        return build.compiled_for(shape.head_dim, shape.heads // shape.kv_heads)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise NotSupported(f"its configuration lacks {error}") from error
    except NotCompiled as error:
        raise NotSupported(f"its kernels can't be compiled: {error}") from error


def _describe(
    name: str, files: ModelFolder, on_progress: OnProgress, folder: Path
) -> None:
    try:
        keeping = ModelConverter(name, files, on_progress, packs=False)
        keeping.into(folder, _write_frequencies)
    except NotLlama as error:
        raise NotSupported(f"{error}; {_OTHERWISE}") from error


def _write_frequencies(config: Any, folder: Path) -> None:
    """Write the RoPE frequencies, which the model's files don't hold."""
    try:
        frequencies = frequencies_of(config).tolist()
    except (ValueError, TypeError, KeyError) as error:
        raise NotSupported(f"its rotary embedding is unusual: {error}") from error
    (folder / _FREQUENCIES).write_text(json.dumps(frequencies))


def _opened_again(folder: Path, name: str, files: ModelFolder) -> LoadedModel:
    try:
        return _opened(folder, name, files)
    except _DAMAGED as error:
        raise NotSupported(f"its weights can't be mapped: {error}") from error


def _opened(folder: Path, name: str, files: ModelFolder) -> LoadedModel:
    config = cache.config_in(folder)
    numbers = json.loads((folder / _FREQUENCIES).read_bytes())
    weights = _weights(files, config, torch.tensor(numbers, dtype=torch.float32))
    return cached_model(folder, name, config, weights)


def _weights(
    model_files: ModelFolder, config: dict[str, Any], frequencies: Tensor
) -> LlamaWeights:
    """Return the weights in a folder, memory-mapped.

    Raises:
        NotSupported: the Llama backend can't run them.
        OSError, ValueError, KeyError: they are damaged.
    """
    shape, naming = shape_of(config), Naming.library()
    products, compiled = _products(config)
    files = _Files(model_files, products)
    files.require_head(tied=bool(config.get("tie_word_embeddings")))
    if has_more(shape, files, naming):
        raise NotSupported("its layers have parts that Llama's layers lack")
    reading = WeightReading(
        files, naming, config["vocab_size"], frequencies, files, lambda _: None
    )
    return replace(read_weights(shape, reading), kernels=compiled)


def _products(config: Mapping[str, Any]) -> tuple[HalfMatmulKernel, Path]:
    """Return the compiled products, checked, and their folder.

    Raises:
        NotSupported: they can't be compiled, or were damaged and have been removed.
    """
    folder = _compiled_for(config)
    seen = cache_dir.identity(folder)
    try:
        products = HalfMatmulKernel(folder / build.HALF_MATMUL)
        products.require_right()
    except (OSError, AttributeError, ValueError) as error:
        # Not compiled again now: a process loads a library of one path only once.
        cache_dir.discard(folder, seen)
        raise NotSupported(f"its compiled kernels were damaged: {error}") from error
    return products, folder


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

    def head(self, rows: Tensor) -> LMHead:
        """See `linear.Matrices`."""
        return MappedHalfHead(rows, self._products)


def row_order(parts: Sequence[MatrixRows]) -> Tensor | None:
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
