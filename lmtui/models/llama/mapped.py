"""Opening of models whose weights stay in files, memory-mapped.

The cache keeps what a model's files lack or hold in another form: the configuration,
the tokenizer and rounded weights. Reads no weights itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import SafetensorError
from torch import Tensor

from lmtui import cache_dir
from lmtui.kernels import build
from lmtui.kernels.build import NotCompiled
from lmtui.kernels.gguf_matmul import GgufMatmulKernel
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.checkpoint_tensors import FolderTensors
from lmtui.models.digests import model_digest
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.llama import cache
from lmtui.models.llama.cache import (
    NotSupported,
    cached_model,
    read_config,
    require_supported,
)
from lmtui.models.llama.families import LIBRARY, Naming
from lmtui.models.llama.linear import BlockMatrices, BlockSource, of_shape
from lmtui.models.llama.weights import (
    BLOCK,
    LlamaWeights,
    has_more,
    layer_frequencies,
    read_weights,
    require_shapes,
    rope_of_layers,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.page_cache import read_ahead
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.source import short_label

SHORT = 0.2  # seconds of compilation that need not be told
_DAMAGED = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
_ROPE_FACTORS = "rope_freqs.weight"
"""By what a GGUF file divides RoPE's frequencies: Llama 3's scaling."""


@dataclass(frozen=True)
class MappedWeights:
    """Weights of a model in files that can be mapped: those of the model itself."""

    checkpoint: ModelFolder | GgufHeader

    doing: ClassVar[str] = "preparing"
    """What is done to a model that is used for the first time."""

    @property
    def kind(self) -> str:
        """The end of the cache folder's name."""
        return "stored"

    @property
    def naming(self) -> Naming:
        if isinstance(self.checkpoint, GgufHeader):
            return Naming.gguf(self.checkpoint)
        return Naming.transformers(str(self.checkpoint.config["model_type"]))

    @property
    def source(self) -> GgufTensors | FolderTensors:
        """The tensors in the model's files."""
        if isinstance(self.checkpoint, GgufHeader):
            return GgufTensors(self.checkpoint)
        return FolderTensors(self.checkpoint)

    def files(self, folder: Path) -> Sequence[Path]:
        """Return the files that are mapped, given the cache folder."""
        if isinstance(self.checkpoint, GgufHeader):
            return [self.checkpoint.path]
        return [file.path for file in self.checkpoint.weights]

    def write(self, config: dict[str, Any], folder: Path) -> None:
        """Write the weights into a new cache folder, where the model's files lack them,
        given the configuration in the form of transformers."""

    def read(self, folder: Path, config: dict[str, Any]) -> LlamaWeights:
        """Map the weights, given the cache folder and the configuration in it."""
        source = self.source
        if isinstance(source, FolderTensors):
            _require_head(source, tied=bool(config.get("tie_word_embeddings")))
        rope = frequencies_of(config, self.checkpoint)
        return read_blocks(source, self.checkpoint, self.naming, config, rope)


def load_mapped(
    name: str, weights: MappedWeights, on_progress: OnProgress
) -> LoadedModel:
    """Load a model whose weights stay in files.

    Raises:
        NotSupported: the Llama backend can't run the model.
        LmtuiError: it can't be read.
    """
    short = short_label(name)
    digest = model_digest(weights.checkpoint.path, on_progress)
    folder = cache.folder_of(digest, weights.kind)
    # 1) kernels, and what the files lack: configuration, tokenizer, rounded weights
    with ThreadPoolExecutor(1) as aside:
        # Compiling takes some seconds, in which the tokenizer can be read.
        config = read_config(weights.checkpoint)
        if isinstance(weights.checkpoint, GgufHeader):
            require_supported(config, str(weights.checkpoint.path))
        compiling = aside.submit(_library_for, config)

        def write(config: dict[str, Any], scratch: Path) -> None:
            require_compiled()  # else nothing need be rounded
            weights.write(config, scratch)

        def require_compiled() -> None:
            if not wait([compiling], SHORT).done:
                on_progress(Progress(f"compiling kernels for {short}, once"))
            compiling.result()

        def convert() -> None:
            on_progress(Progress(f"{weights.doing} {short}, once"))
            cache.convert(name, weights.checkpoint, folder, write)

        if not cache.is_complete(folder):
            convert()
        require_compiled()
    # 2) the weights, from the disk into the page cache, and mapped from there
    read_ahead(weights.files(folder), name, on_progress)
    seen = cache_dir.identity(folder)
    try:
        return _opened(folder, name, weights)
    except _DAMAGED:
        # 3) once more, where the folder is damaged as `is_complete` does not see
        cache_dir.discard(folder, seen)
        convert()
    try:
        return _opened(folder, name, weights)
    except _DAMAGED as error:
        raise NotSupported(f"its weights can't be mapped: {error}") from error


def checked_kernel(library: Path, formats: Sequence[str]) -> GgufMatmulKernel:
    """Return the compiled products in a library for matrices in some formats, checked.

    Raises:
        NotSupported: it was damaged and has been removed.
    """
    seen = cache_dir.identity(library.parent)
    try:
        kernel = GgufMatmulKernel(library, formats)
        kernel.require_right()
    except (OSError, AttributeError, ValueError) as error:
        # Not compiled again now: a process loads a library of one path only once.
        build.discard(library, seen)
        raise NotSupported(f"its compiled kernels were damaged: {error}") from error
    return kernel


def _library_for(config: Mapping[str, Any]) -> Path:
    try:
        return library_for(*shape_of(config).head_dims)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise NotSupported(f"its configuration lacks {error}") from error


def library_for(*head_dims: int) -> Path:
    """Return the compiled library with attention for heads of some widths.

    Raises:
        NotSupported: it can't be compiled.
    """
    try:
        return build.library_for(head_dims)
    except NotCompiled as error:
        raise NotSupported(f"its kernels can't be compiled: {error}") from error


def frequencies_of(
    config: Mapping[str, Any], checkpoint: ModelFolder | GgufHeader
) -> Tensor:
    """Return RoPE's angle per position for each pair in each layer, in radians, float32
    [layers, R/2]: by a configuration, and the factors that a GGUF file may have.

    Raises:
        KeyError, TypeError, ValueError: a number is missing, or they don't fit.
    """
    ropes, inverse = rope_of_layers(config), layer_frequencies(config)
    scaled = any(rope.get("rope_type", "default") != "default" for rope in ropes)
    if not isinstance(checkpoint, GgufHeader) or scaled:
        return inverse
    tensors = GgufTensors(checkpoint)
    if _ROPE_FACTORS not in tensors:
        return inverse
    return inverse / of_shape(tensors.floats(_ROPE_FACTORS), inverse.shape[1])


def _opened(folder: Path, name: str, weights: MappedWeights) -> LoadedModel:
    config = cache.config_in(folder)
    return cached_model(folder, name, config, weights.read(folder, config))


def formats_in(checkpoint: ModelFolder | GgufHeader) -> tuple[str, ...]:
    """Return the formats of a model's matrices, in the order of their names; taps of
    convolutions are none."""
    if isinstance(checkpoint, ModelFolder):
        return (checkpoint.dtype,)
    tensors = (t for t in checkpoint.tensors if len(t.shape) > 1)
    return tuple(sorted({t.type for t in tensors if t.shape[0] >= BLOCK}))


def read_blocks(
    source: BlockSource,
    checkpoint: ModelFolder | GgufHeader,
    naming: Naming,
    config: dict[str, Any],
    rope: Tensor,
) -> LlamaWeights:
    """Return the weights of a source, memory-mapped. `checkpoint` describes its
    tensors, `rope` are the frequencies, float32 [layers, R/2]."""
    shape, vocabulary = shape_of(config), config["vocab_size"]
    require_shapes(shape, vocabulary, checkpoint.shapes, naming)
    kernel = checked_kernel(_library_for(config), formats_in(checkpoint))
    if has_more(shape, checkpoint.shapes, naming):
        raise NotSupported("its layers have parts that Llama's layers lack")
    matrices = BlockMatrices(source, kernel)
    return read_weights(shape, matrices, naming, vocabulary, rope)


def _require_head(source: FolderTensors, *, tied: bool) -> None:
    """Check that the LM head is stored, or tied, as the configuration says."""
    embedding, head = LIBRARY["embedding"], LIBRARY["head"]
    if head not in source:
        right = tied
    else:
        right = not tied or torch.equal(source.tensor(embedding), source.tensor(head))
    if not right:
        raise NotSupported("its output layer does not match its configuration")
