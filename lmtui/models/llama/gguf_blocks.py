"""Load Llama-shaped GGUF files whose weights are used as they lie there.

The file is memory-mapped; no weight is copied or rounded. The cache keeps only the
configuration and the tokenizer. Without a compiler, or on an x86 processor without
AVX2, transformers runs the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lmtui.kernels import build, cpu_features
from lmtui.kernels.gguf_matmul import (
    FORMATS,
    bits_of,
)
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.linear import BlockMatrices, BlockSource
from lmtui.models.llama.mapped import (
    checked_kernel,
    frequencies_of,
    load_mapped,
)
from lmtui.models.llama.weights import (
    LlamaWeights,
    Naming,
    has_more,
    read_weights,
    require_shapes,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress


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
    if not cpu_features.instruction_class():
        return "this processor has no AVX2"
    return build.why_none()


@dataclass(frozen=True)
class GgufWeights:
    """The weights in a GGUF file; see `mapped.MappedWeights`."""

    checkpoint: GgufHeader
    kind = "stored"
    rounds = False

    def files(self, folder: Path) -> list[Path]:
        return [self.checkpoint.path]

    def write(self, config: dict[str, Any], folder: Path) -> None:
        """See `MappedWeights`: nothing is missing."""

    def read(self, folder: Path, config: dict[str, Any]) -> LlamaWeights:
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
    kernel = checked_kernel(config, formats_in(checkpoint))
    if has_more(shape, source, naming):
        raise NotSupported("its layers have parts that Llama's layers lack")
    matrices = BlockMatrices(source, kernel)
    return read_weights(shape, matrices, naming, vocabulary, rope)
