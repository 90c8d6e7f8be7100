"""Load Llama-shaped models whose 16-bit weights are used as they lie in the files.

The weights are memory-mapped; none is copied or rounded. The cache keeps only the
configuration and the tokenizer. A model with anything unusual
falls back to transformers, which also explains damaged files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lmtui.kernels.gguf_matmul import DTYPES
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.checkpoint_tensors import FolderTensors
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.gguf_blocks import read_blocks
from lmtui.models.llama.mapped import frequencies_of, load_mapped
from lmtui.models.llama.weights import (
    LIBRARY,
    LlamaWeights,
    Naming,
    require_shapes,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress


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
    memory.require_memory(files.parameters, DTYPES[files.dtype], have, where="cpu")
    return load_mapped(name, HalfWeights(files), on_progress)


def _require_shapes(files: ModelFolder) -> None:
    """Check that the tensors have the shapes that the configuration implies."""
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
    rounds = False

    def files(self, folder: Path) -> list[Path]:
        return [file.path for file in self.checkpoint.weights]

    def write(self, config: dict[str, Any], folder: Path) -> None:
        """See `MappedWeights`: nothing is missing."""

    def read(self, folder: Path, config: dict[str, Any]) -> LlamaWeights:
        source = FolderTensors(self.checkpoint)
        _require_head(source, tied=bool(config.get("tie_word_embeddings")))
        rope = frequencies_of(config, self.checkpoint)
        return read_blocks(source, self.checkpoint, Naming.library(), config, rope)


def _require_head(source: FolderTensors, *, tied: bool) -> None:
    """Check that the LM head is stored, or tied, as the configuration says.

    Raises:
        NotSupported: it is another one, or missing.
    """
    embedding, head = LIBRARY["embedding"], LIBRARY["head"]
    if head not in source:
        right = tied
    else:
        right = not tied or torch.equal(source.tensor(embedding), source.tensor(head))
    if not right:
        raise NotSupported("its output layer does not match its configuration")
