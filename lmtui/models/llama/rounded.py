"""Load Llama-shaped models with weights rounded to 8 or 4 bits.

The first time, the weights are rounded into a GGUF file in the cache, which is then
mapped like any other (`mapped`). Weights that have as few bits already stay as
they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lmtui import cache_dir
from lmtui.errors import LmtuiError
from lmtui.kernels.gguf_formats import FORMATS, bits_of
from lmtui.models import hardware, memory
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.checkpoint_tensors import FolderTensors
from lmtui.models.errors import wrap_load_errors
from lmtui.models.gguf.header import GgufHeader, read_gguf_header
from lmtui.models.gguf.tensors import GgufTensors
from lmtui.models.llama.cache import NotSupported
from lmtui.models.llama.mapped import (
    MappedWeights,
    frequencies_of,
    load_mapped,
    read_blocks,
)
from lmtui.models.llama.weights import (
    BLOCK,
    LlamaWeights,
    has_more,
    require_shapes,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, Progress

_FILE = "rounded.gguf"
_TYPES = {8: "Q8_0", 4: "Q4_1"}
"""What weights are rounded to. Of the 4-bit types, Q4_1 keeps the least and the
greatest weight of each block."""
_FLOATS = "F32"  # what vectors are kept in
_PART = 2**24  # weights that are rounded at a time

_Source = GgufTensors | FolderTensors


def load_rounded(
    name: str, checkpoint: ModelFolder | GgufHeader, bits: int, on_progress: OnProgress
) -> LoadedModel:
    """Load a model with its weights rounded to at most `bits` bits, 8 or 4."""
    weights = RoundedWeights(checkpoint, name, bits, on_progress)
    count, have = checkpoint.parameters, hardware.available_ram()
    memory.require_mapped(count, bytes_rounded(count, bits), have, rounds=True)
    return load_mapped(name, weights, on_progress)


def bytes_rounded(parameters: int, bits: int) -> int:
    """Estimate the size of a model that is rounded to `bits` bits, 8 or 4."""
    layout = FORMATS[_TYPES[bits]]
    return parameters // layout.weights * layout.size


@dataclass(frozen=True)
class RoundedWeights(MappedWeights):
    """The rounded weights of a model, in the cache."""

    name: str
    bits: int
    on_progress: OnProgress

    doing = "rounding"

    @property
    def kind(self) -> str:
        return _TYPES[self.bits].lower()

    def files(self, folder: Path) -> list[Path]:
        return [folder / _FILE]

    def write(self, config: dict[str, Any], folder: Path) -> None:
        checkpoint, naming = self.checkpoint, self.naming
        shape = shape_of(config)
        with wrap_load_errors(str(checkpoint.path)):
            source = self.source
            require_shapes(shape, config["vocab_size"], checkpoint.shapes, naming)
        if has_more(shape, checkpoint.shapes, naming):
            raise NotSupported("its layers have parts that Llama's layers lack")
        need = bytes_rounded(checkpoint.parameters, self.bits)
        cache_dir.require_space(folder, need)
        with wrap_load_errors(str(checkpoint.path)):
            self._round(source, folder / _FILE)

    def _round(self, source: _Source, file: Path) -> None:
        """Write the rounded tensors of a source into a GGUF file, one by one."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

        shapes, types = self.checkpoint.shapes, self._types()
        writer = GGUFWriter(file, "llama")
        try:
            for name, kind in types.items():
                count = math.prod(shapes[name])
                block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
                writer.add_tensor_info(
                    *(name, shapes[name], np.dtype(np.float32), count // block * size),
                    raw_dtype=GGMLQuantizationType[kind],
                )
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            for index, (name, kind) in enumerate(types.items()):
                what = f"rounding {self.name}, once"
                self.on_progress(Progress(what, index, len(types), unit="tensors"))
                writer.write_tensor_data(_rounded(source, name, kind))
        finally:
            writer.close()

    def _types(self) -> dict[str, str]:
        """Return the type that each tensor gets, by name."""
        stored = {}
        if isinstance(self.checkpoint, GgufHeader):
            stored = {tensor.name: tensor.type for tensor in self.checkpoint.tensors}
        names = self.naming.names
        types = {}
        for name, shape in self.checkpoint.shapes.items():
            # The embedding is often the LM head, too, and all logits depend on that.
            most = 8 if name in (names["embedding"], names["head"]) else self.bits
            if len(shape) == 1 or shape[-1] < BLOCK:  # a vector, or taps
                types[name] = _FLOATS
            elif len(shape) == 2 and shape[1] % BLOCK == 0:  # no layer has others
                kind = stored.get(name, _FLOATS)
                keeps = kind in FORMATS and bits_of(kind) <= most
                types[name] = kind if keeps else _TYPES[most]
        return types

    def read(self, folder: Path, config: dict[str, Any]) -> LlamaWeights:
        try:
            header = read_gguf_header(folder / _FILE)
        except LmtuiError as error:
            raise ValueError(str(error)) from error
        rope = frequencies_of(config, self.checkpoint)
        return read_blocks(GgufTensors(header), header, self.naming, config, rope)


def _rounded(source: _Source, name: str, kind: str) -> np.ndarray[Any, Any]:
    """Return a tensor in the blocks of a type, uint8, or in float32 for `F32`."""
    from gguf import GGMLQuantizationType, quants

    if kind == _FLOATS:
        return source.floats(name).numpy()
    if isinstance(source, GgufTensors):
        blocks, stored = source.blocks(name)
        if stored == kind:
            return blocks.numpy()
        whole = source.floats(name)
    else:
        whole = source.tensor(name)
    parts = torch.split(whole, max(1, _PART // whole.shape[1]))
    to = GGMLQuantizationType[kind]
    return np.concatenate([quants.quantize(p.float().numpy(), to) for p in parts])
