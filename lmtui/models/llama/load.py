"""Choose how a Llama-shaped model runs on a CPU, and load it so.

Its weights are memory-mapped: as they lie in the model's own files (the blocks of a
GGUF file, the 16-bit weights of a folder), or rounded in the cache (`llama/rounded`).
Whatever can't be mapped is left to transformers, which also explains damaged files.
Runs no model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from lmtui.errors import LmtuiError
from lmtui.kernels import build, cpu_features
from lmtui.kernels.gguf_formats import DTYPES, FORMATS, bits_of
from lmtui.models import hardware, memory
from lmtui.models.adapters.folders import Adapter
from lmtui.models.checkpoint import FLOATS, ModelFolder
from lmtui.models.config_check import read_model
from lmtui.models.gguf.config_check import read_gguf_model, require_whole
from lmtui.models.gguf.families import family_of
from lmtui.models.gguf.header import GgufHeader, read_gguf_header
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.families import FAMILIES, Naming
from lmtui.models.llama.lora import UnsupportedLora, add_lora
from lmtui.models.llama.mapped import MappedWeights, formats_in, load_mapped
from lmtui.models.llama.rounded import load_rounded
from lmtui.models.llama.weights import LlamaModel, require_shapes, shape_of
from lmtui.models.loaded_model import LoadedModel, LoadOptions
from lmtui.models.source import Quantize


@dataclass(frozen=True, slots=True)
class FallbackReason:
    """The reason why transformers runs a model."""

    words: str
    dtype: str = "auto"
    """The dtype in which its weights are best held."""


def load_quantized(
    name: str, path: Path, how: LoadOptions
) -> LoadedModel | FallbackReason:
    """Load the model in a folder or a `.gguf` file for the Llama backend, converting it
    the first time; or return the reason why it can't run there.

    Raises:
        LmtuiError: it can't be read; or rounded weights were asked for and are not
            possible.
    """
    device = hardware.choose_device(how.device)
    try:
        if how.dtype != "auto":
            raise NotSupported(f"its weights are to be {how.dtype}")
        if device.type == "cuda" and how.quantize == "auto":
            return reason_on_gpu(device, path)
        if device.type != "cpu":
            raise NotSupported(f"it runs on {device}")
        checkpoint = read_gguf_model(path) if path.is_file() else read_model(path)
        if isinstance(checkpoint, GgufHeader) and how.quantize == "auto":
            return _in_file(name, checkpoint, how)
        return _mapped(name, checkpoint, how)
    except NotSupported as error:
        return FallbackReason(_refused(name, str(error), how))


def _in_file(name: str, header: GgufHeader, how: LoadOptions) -> LoadedModel:
    """Load a GGUF file for the Llama backend, else for transformers."""
    require_whole(header)
    try:
        return _mapped(name, header, how)
    except NotSupported:
        from lmtui.models.blocks.load import load_in_blocks

        return load_in_blocks(name, header, how.on_progress)


def reason_on_gpu(device: torch.device, path: Path) -> FallbackReason:
    """Return why transformers runs a model on a GPU of NVIDIA, and in which dtype."""
    stored = next(iter(read_gguf_header(path).by_type), "") if path.is_file() else ""
    if not hardware.fast_at_bfloat16(device):
        return FallbackReason("this GPU does not compute in bfloat16")
    if not stored or stored in FLOATS:
        return FallbackReason(f"it runs on {device}")
    return FallbackReason("on a GPU its weights are bfloat16", dtype="bfloat16")


def weights_for(
    checkpoint: ModelFolder | GgufHeader, quantize: Quantize
) -> Literal["blocks", "half", "rounded"]:
    """Return which weights a model runs with on a CPU: the blocks of its GGUF file, the
    16-bit ones of its folder, or rounded ones in the cache.

    Raises:
        NotSupported: it is not Llama-shaped, or this machine can't run it so.
    """
    if isinstance(checkpoint, GgufHeader):
        kind = family_of(checkpoint).model_type
        stored = next(iter(checkpoint.by_type), "F32")
    else:
        kind, stored = str(checkpoint.config.get("model_type")), checkpoint.dtype
    if kind not in FAMILIES:
        raise NotSupported(f"{kind} is not shaped like Llama")
    if quantize == "auto" and stored in ("F32", "F64"):
        raise NotSupported("its weights are not quantised; --quantize int8 does it")
    if why := why_no_blocks():
        raise NotSupported(why)
    if isinstance(checkpoint, ModelFolder):
        return "half" if quantize == "auto" else "rounded"
    # For int4 the embedding, too, is rounded.
    most = {"auto": 16, "int8": 8}.get(quantize, 0)
    fit = (name in FORMATS and bits_of(name) <= most for name in formats_in(checkpoint))
    return "blocks" if all(fit) else "rounded"


def _mapped(
    name: str, checkpoint: ModelFolder | GgufHeader, how: LoadOptions
) -> LoadedModel:
    """Return a model whose weights are mapped, from its own files or rounded in the
    cache."""
    weights = weights_for(checkpoint, how.quantize)
    if weights == "blocks" and isinstance(checkpoint, GgufHeader):
        have = hardware.available_ram()
        memory.require_mapped(checkpoint.parameters, checkpoint.bytes, have)
    elif weights == "half" and isinstance(checkpoint, ModelFolder):
        _require_half(checkpoint)
    else:
        bits = bits_for(how.quantize)
        return load_rounded(name, checkpoint, bits, how.on_progress)
    return load_mapped(name, MappedWeights(checkpoint), how.on_progress)


def _require_half(files: ModelFolder) -> None:
    """Check that the 16-bit weights of a folder can be used as they are: their format,
    their shapes, and that the memory has room for them."""
    config = files.config
    if config.get("quantization_config"):
        raise NotSupported(
            "its weights are quantised in a format that is not supported"
        )
    try:
        shape, vocabulary = shape_of(config), config["vocab_size"]
        naming = Naming.transformers(config["model_type"])
        require_shapes(shape, vocabulary, files.shapes, naming)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise NotSupported(
            f"its tensors do not match its configuration: {error}"
        ) from error
    have = hardware.available_ram()
    memory.require_memory(files.parameters, DTYPES[files.dtype], have, where="cpu")


def why_no_blocks() -> str | None:
    """Return why no blocks can be multiplied on this machine; None where they can."""
    if not cpu_features.instruction_class():
        return "this processor has no AVX2"
    return build.why_none()


def bits_for(quantize: Quantize) -> int:
    """Return the bits that weights are rounded to."""
    return 4 if quantize == "int4" else 8


def with_adapter(
    base: LoadedModel, adapter: Adapter, how: LoadOptions
) -> LoadedModel | str:
    """Return a model whose weights stay in files with an adapter beside them, or why
    that is not possible.

    Raises:
        LmtuiError: the adapter's configuration is damaged; or rounded weights were
            asked for.
    """
    try:
        if base.is_llama:
            weights = add_lora(base.model.weights, adapter)
            model: Any = LlamaModel(weights, base.model.facts)
        else:
            from lmtui.models.blocks.lora import with_lora

            model = with_lora(base.model, adapter)
    except UnsupportedLora as error:
        return _refused(adapter.name, str(error), how)
    return replace(base, model=model, adapter=adapter.name)


def _refused(name: str, why: str, how: LoadOptions) -> str:
    if how.quantize in ("auto", "none"):
        return why
    other = "use another model"
    if build.why_none() is not None:
        other = "install a C++ compiler (CXX names one)"
    raise LmtuiError(
        f"this model can't be used in {how.quantize}",
        f"{name}: {why}",
        f"Leave --quantize out, or {other}.",
    )
