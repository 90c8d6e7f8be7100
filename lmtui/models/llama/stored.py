"""Load Llama-shaped models whose weights are used as they lie in their files: the
blocks of a GGUF file, or the 16-bit weights of a folder.

The files are memory-mapped; no weight is copied or rounded. The cache keeps only the
configuration and the tokenizer. Without a compiler, or on an x86 processor without
AVX2, transformers runs the model. A folder with anything unusual falls back to it, too,
which also explains damaged files.
"""

from __future__ import annotations

from lmtui.kernels import build, cpu_features
from lmtui.kernels.gguf_matmul import DTYPES, FORMATS, bits_of
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.mapped import MappedWeights, formats_in, load_mapped
from lmtui.models.llama.weights import Naming, require_shapes, shape_of
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress


def load_blocks(name: str, header: GgufHeader, on_progress: OnProgress) -> LoadedModel:
    """Load the model in a GGUF file with its blocks as they are.

    Raises:
        NotSupported: the Llama backend can't run it so.
        LmtuiError: it can't be read, or is too large for the memory.
    """
    memory.require_mapped(header.parameters, header.bytes, hardware.available_ram())
    return load_mapped(name, MappedWeights(header), on_progress)


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
    return load_mapped(name, MappedWeights(files), on_progress)


def _require_shapes(files: ModelFolder) -> None:
    """Check that the tensors have the shapes that the configuration implies."""
    config = files.config
    try:
        shape, vocabulary = shape_of(config), config["vocab_size"]
        require_shapes(shape, vocabulary, files.shapes, Naming.transformers())
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise NotSupported(
            f"its tensors do not match its configuration: {error}"
        ) from error


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
