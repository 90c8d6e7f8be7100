"""Weights of a GGUF file, read one tensor at a time.

The header has been checked: every tensor lies inside the file. Knows no model. Types:
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lmtui.models.gguf.header import GgufHeader, GgufTensor


class GgufTensors:
    def __init__(self, header: GgufHeader) -> None:
        self._file = str(header.path)
        self._entries = {tensor.name: tensor for tensor in header.tensors}

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, rows first, as in torch."""
        return self._entries[name].shape[::-1]

    def blocks(self, name: str) -> tuple[Tensor, str]:
        """Return a tensor's bytes as they lie in the file, uint8 [bytes], and the type
        of its blocks."""
        entry = self._entries[name]
        return self._bytes(entry)[: entry.bytes], entry.type

    def floats(self, name: str) -> Tensor:
        """Return a tensor in float32."""
        entry = self._entries[name]
        if dequantised := _FLOATS.get(entry.type):
            return dequantised(self._blocks(entry)).reshape(self.shape(name))
        from gguf import GGMLQuantizationType, quants

        kind = GGMLQuantizationType[entry.type]
        data = quants.dequantize(self._bytes(entry).numpy(), kind)
        return torch.from_numpy(data.copy()).reshape(self.shape(name)).float()

    def _bytes(self, entry: GgufTensor) -> Tensor:
        """Return the tensor's bytes, memory-mapped: uint8 [bytes]."""
        size = entry.offset + entry.bytes
        mapped = torch.from_file(self._file, size=size, dtype=torch.uint8)
        return mapped[entry.offset :]

    def _blocks(self, entry: GgufTensor) -> Tensor:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        size = GGML_QUANT_SIZES[GGMLQuantizationType[entry.type]][1]
        return self._bytes(entry).view(-1, size)  # [blocks, bytes of a block]


def _half(data: Tensor) -> Tensor:
    return data.contiguous().view(torch.float16).float()


def _q8_0_floats(blocks: Tensor) -> Tensor:
    q = blocks[:, 2:].contiguous().view(torch.int8)
    return q.float().mul_(_half(blocks[:, :2]))


_FLOATS: dict[str, Callable[[Tensor], Tensor]] = {
    "Q8_0": _q8_0_floats,
}
"""Faster readers, with the same results as the `gguf` package."""
