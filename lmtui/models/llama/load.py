"""Load a Llama-shaped model with quantised weights.

With a compiler, weights are mapped: from the model's own files (`llama/gguf_blocks`,
`llama/half`), or rounded in the cache (`llama/rounded`). Without one, they are packed
for torch's kernel and cached by `llama/cache`. Runs no model.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lmtui import cache_dir
from lmtui.errors import LmtuiError
from lmtui.kernels.half_matmul import FORMATS
from lmtui.models import hardware, memory
from lmtui.models.adapters.folders import Adapter
from lmtui.models.checkpoint import FLOATS, ModelFolder
from lmtui.models.checkpoint_tensors import RoundedTensors
from lmtui.models.config_check import read_model
from lmtui.models.digests import model_digest
from lmtui.models.errors import wrap_load_errors
from lmtui.models.gguf.config_check import read_gguf_model
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.llama import cache
from lmtui.models.llama.cache import (
    ModelConverter,
    NotLlama,
    NotStored,
    NotSupported,
    cached_model,
)
from lmtui.models.llama.linear import GroupSource, PackedMatrices
from lmtui.models.llama.lora import UnsupportedLora, add_lora
from lmtui.models.llama.mapped import frequencies_of
from lmtui.models.llama.weights import (
    FAMILIES,
    LlamaModel,
    LlamaWeights,
    Naming,
    WeightReading,
    has_more,
    read_weights,
    require_shapes,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel, LoadOptions
from lmtui.models.progress import OnProgress, Progress
from lmtui.models.quantize_choice import DENSE_SHARE, FallbackReason
from lmtui.models.source import Quantize

MOST_BITS = {"auto": 8, "int8": 8, "int4": 4}
_SLOW = ("NO AVX", "DEFAULT") if platform.machine() in ("x86_64", "AMD64") else ()
"""torch's names for x86 processors without AVX2."""


def load_quantized(
    name: str, path: Path, how: LoadOptions
) -> LoadedModel | FallbackReason:
    """Load the model in a folder or a `.gguf` file for the Llama backend, converting it
    the first time; or return the reason why it can't run there.

    Raises:
        LmtuiError: it can't be read; or quantised weights were asked for and are not
            possible.
    """
    device = hardware.choose_device(how.device)
    try:
        if how.dtype != "auto":
            raise NotSupported(f"its weights are to be {how.dtype}")
        if device.type == "cuda":
            from lmtui.models.quantized_cuda import cuda_quantization

            return cuda_quantization(device, path, how)
        if device.type != "cpu":
            raise NotSupported(f"it runs on {device}")
        if torch.backends.cpu.get_cpu_capability() in _SLOW:
            raise NotSupported("this processor has no fast kernel for it")
        if how.quantize == "auto" and path.is_dir():
            looked = read_model(path)
            if looked.dtype in FORMATS:
                from lmtui.models.llama.half import load_half

                return load_half(name, looked, how.on_progress)
        return _load(name, path, how.quantize, how.on_progress)
    except NotLlama as error:
        if how.layers:
            return FallbackReason(str(error), layers=True)
        return FallbackReason(_refused(name, str(error), how))
    except NotSupported as error:
        return FallbackReason(_refused(name, str(error), how))


def quantize_layers(exact: LoadedModel, quantize: Quantize) -> LoadedModel:
    """Quantise the linear layers of a transformers model, in place."""
    if exact.device.type == "cuda":
        from lmtui.models.quantized_cuda import quantize_layers_cuda

        return quantize_layers_cuda(exact)
    from lmtui.models.quantized_layers import pack_layers

    dense = pays_bfloat16_copy(exact.facts.parameters)
    bits = pack_layers(exact.model, MOST_BITS[quantize], dense=dense)
    if not bits:
        return exact
    return replace(exact, precision="fast", layer_bits=bits)


def with_adapter(
    base: LoadedModel, adapter: Adapter, how: LoadOptions
) -> LoadedModel | str:
    """Return a Llama model with an adapter beside its weights, or why that is not
    possible.

    Raises:
        LmtuiError: the adapter's configuration is damaged; or quantised weights were
            asked for.
    """
    try:
        weights = add_lora(base.model.weights, adapter)
    except UnsupportedLora as error:
        return _refused(adapter.name, str(error), how)
    model = LlamaModel(weights, base.model.facts)
    return replace(base, model=model, adapter=adapter.name)


def _refused(name: str, why: str, how: LoadOptions) -> str:
    if how.quantize == "auto":
        return why
    raise LmtuiError(
        f"this model can't be used in {how.quantize}",
        f"{name}: {why}",
        "Leave --quantize out, or use another model.",
    )


def _load(
    name: str, path: Path, quantize: Quantize, on_progress: OnProgress
) -> LoadedModel:
    checkpoint = read_gguf_model(path) if path.is_file() else read_model(path)
    _require_suited(checkpoint, quantize)
    # An earlier version, or a start without a compiler, may have packed it.
    packed = cache.folder_of(model_digest(path, on_progress), quantize)
    if found := _mapped(name, checkpoint, quantize, on_progress):
        cache_dir.discard(packed)
        return found
    bits = MOST_BITS[quantize]
    return _packed(_Packing(name, checkpoint, bits, on_progress), packed)


def _mapped(
    name: str,
    checkpoint: ModelFolder | GgufHeader,
    quantize: Quantize,
    on_progress: OnProgress,
) -> LoadedModel | None:
    """Return a model whose weights are mapped, from its own file or rounded in the
    cache; None where that is not possible.

    Raises:
        NotLlama: it is not Llama-shaped.
    """
    from lmtui.models.llama.gguf_blocks import (
        load_blocks,
        why_no_blocks,
        why_not_mapped,
    )
    from lmtui.models.llama.rounded import load_rounded

    def tell(progress: Progress) -> None:
        if not progress.unkept:  # what is tried next will say so
            on_progress(progress)

    if why_no_blocks():
        return None
    try:
        if (
            isinstance(checkpoint, GgufHeader)
            and quantize != "int4"
            and why_not_mapped(checkpoint) is None
        ):
            return load_blocks(name, checkpoint, tell)
        return load_rounded(name, checkpoint, MOST_BITS[quantize], tell)
    except NotLlama:
        raise
    except NotSupported:
        return None


def _packed(packing: _Packing, folder: Path) -> LoadedModel:
    """Return a model packed for torch's kernel, which needs no compiler."""
    if cache.is_complete(folder):
        seen = cache_dir.identity(folder)
        try:
            return _opened(folder, packing.name)
        except (OSError, ValueError, KeyError, TypeError):
            # damaged in a way that `is_complete` does not see; made again below
            cache_dir.discard(folder, seen)
    checkpoint = packing.checkpoint
    memory.require_memory(
        checkpoint.parameters,
        f"int{packing.bits}",
        hardware.available_ram(),
        where="cpu",
    )
    converter = ModelConverter(packing.name, checkpoint, packing.on_progress, "packing")
    try:
        converter.into(folder, packing.write)
    except NotStored:
        return converter.in_memory(packing.weights)
    with wrap_load_errors(str(checkpoint.path)):
        return _opened(folder, packing.name)


def _opened(folder: Path, name: str) -> LoadedModel:
    config = cache.config_in(folder)
    return cached_model(folder, name, config, cache.read(folder, config))


def _require_suited(checkpoint: ModelFolder | GgufHeader, quantize: Quantize) -> None:
    """Refuse, by the header alone, a model that need not be read further.

    Raises:
        NotSupported: its weights are not quantised, and no `--quantize` was given.
        NotLlama: it is not Llama-shaped.
    """
    if isinstance(checkpoint, GgufHeader):
        kind, stored = checkpoint.architecture, next(iter(checkpoint.by_type), "F32")
    else:
        kind, stored = str(checkpoint.config.get("model_type")), checkpoint.dtype
    if quantize == "auto" and stored in FLOATS:
        raise NotSupported("its weights are not quantised; --quantize int8 does it")
    if kind not in FAMILIES:
        raise NotLlama(f"{kind} is not shaped like Llama")


def pays_bfloat16_copy(parameters: int) -> bool:
    """Return whether a bfloat16 copy of all weights fits into memory and is faster."""
    room = 2 * parameters * DENSE_SHARE <= hardware.available_ram()
    return room and hardware.fast_at_bfloat16(torch.device("cpu"))


@dataclass(frozen=True)
class _Packing:
    """Quantisation of a model's weights for torch's kernel."""

    name: str
    checkpoint: ModelFolder | GgufHeader
    bits: int
    on_progress: OnProgress

    def write(self, config: dict[str, Any], scratch: Path) -> None:
        """Quantise the weights and write them into `scratch`.

        Raises:
            NotSupported: the Llama backend can't run the model.
            OSError, LmtuiError: they can't be written, or not be read.
        """
        cache_dir.require_space(scratch, 4 * self.checkpoint.parameters)
        cache.write(self.weights(config), scratch)

    def weights(self, config: dict[str, Any]) -> LlamaWeights:
        """Return the quantised weights of the model with this configuration.

        Raises:
            NotSupported: the Llama backend can't run the model.
            LmtuiError: it can't be read.
        """
        checkpoint, shape = self.checkpoint, shape_of(config)
        naming, source = Naming.library(), _source_of(checkpoint, self.bits)
        if isinstance(checkpoint, GgufHeader):
            naming = Naming.gguf(checkpoint.architecture)
        if has_more(shape, source, naming):
            raise NotLlama("its layers have parts that Llama's layers lack")
        with wrap_load_errors(str(checkpoint.path)):
            require_shapes(shape, config["vocab_size"], checkpoint.shapes, naming)
            rope = frequencies_of(config, checkpoint)
        dense = pays_bfloat16_copy(checkpoint.parameters)
        what = f"packing {self.name}, once"

        def on_layer(index: int) -> None:
            self.on_progress(Progress(what, index, shape.layers, unit="layers"))

        matrices = PackedMatrices(source, self.bits, dense)
        reading = WeightReading(
            source, naming, config["vocab_size"], rope, matrices, on_layer
        )
        with wrap_load_errors(str(checkpoint.path)):
            return read_weights(shape, reading)


def _source_of(checkpoint: ModelFolder | GgufHeader, bits: int) -> GroupSource:
    if isinstance(checkpoint, GgufHeader):
        return GgufTensors(checkpoint)
    return RoundedTensors(checkpoint, bits)
