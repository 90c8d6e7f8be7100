"""Weights of a GGUF file, read one tensor at a time.

4- and 8-bit types with groups of 32 keep their integers; all others are dequantised.
The header has been checked: every tensor lies inside the file. Knows no model. Types:
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lmtui.models.gguf.header import GgufHeader, GgufTensor
from lmtui.models.llama.int4 import GROUP, GroupQuantized, quantise

UNROUNDED_TYPES = ("Q4_0", "Q4_1", "Q4_K", "Q8_0")
"""Types whose integers are kept as they are; only the scales are rounded to
bfloat16."""


class GgufTensors:
    """The tensors of a GGUF file."""

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

    def groups(self, name: str) -> GroupQuantized:
        """Return a matrix [N, K] in groups of 32 columns, requantised to 8 bits where
        its type is not in `UNROUNDED_TYPES`."""
        entry = self._entries[name]
        if read := _READERS.get(entry.type):
            q, scale, shift, bits = read(self._blocks(entry))
            rows, columns = self.shape(name)
            grouped = (rows, columns // GROUP)
            return GroupQuantized(
                q.reshape(rows, columns),
                scale.reshape(grouped),
                shift.reshape(grouped),
                bits,
            )
        return quantise(self.floats(name), 8)

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


_Read = tuple[Tensor, Tensor, Tensor, int]  # q, scale, shift, bits


def _half(data: Tensor) -> Tensor:
    return data.contiguous().view(torch.float16).float()


def _nibbles(data: Tensor) -> Tensor:
    """Return the low halves of the bytes, then the high ones, along the last
    dimension."""
    return torch.cat([data & 15, data >> 4], -1)


def _q4_0(blocks: Tensor) -> _Read:
    scale = _half(blocks[:, :2])
    return _nibbles(blocks[:, 2:]), scale, -8 * scale, 4


def _q4_1(blocks: Tensor) -> _Read:
    scale, shift = torch.split(_half(blocks[:, :4]), 1, 1)
    return _nibbles(blocks[:, 4:]), scale, shift, 4


def _q8_0(blocks: Tensor) -> _Read:
    scale = _half(blocks[:, :2])
    q = blocks[:, 2:].contiguous().view(torch.int8).to(torch.int16) + 128
    return q.to(torch.uint8), scale, -128 * scale, 8


def _q4_k(blocks: Tensor) -> _Read:
    """Read blocks of 256 numbers with eight 6-bit scales and minima, packed in 12
    bytes: four scales, four minima, then the low 4 bits of the other four of both,
    whose 2 high bits are the top bits of the first eight bytes."""
    scale, least = torch.split(_half(blocks[:, :4]), 1, 1)
    packed = blocks[:, 4:16]
    low, high, rest = torch.split(packed, 4, 1)
    scales = torch.cat([low & 63, (rest & 15) | (low >> 2 & 48)], 1)
    minima = torch.cat([high & 63, (rest >> 4) | (high >> 2 & 48)], 1)
    q = _nibbles(blocks[:, 16:].view(-1, 4, 32))  # [blocks, 4, 64]
    return q, scale * scales, -least * minima, 4


_READERS: dict[str, Callable[[Tensor], Any]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q4_K": _q4_k,
    "Q8_0": _q8_0,
}


def _q8_0_floats(blocks: Tensor) -> Tensor:
    q = blocks[:, 2:].contiguous().view(torch.int8)
    return q.float().mul_(_half(blocks[:, :2]))


def _q6_k_floats(blocks: Tensor) -> Tensor:
    """Dequantise blocks of 256 6-bit numbers with a scale for each 16: the low 4 bits
    of all numbers, then the high 2 bits, of four numbers in a byte."""
    low, high, scales, whole = torch.split(blocks, [128, 64, 16, 2], 1)
    scale = _half(whole) * scales.contiguous().view(torch.int8).float()  # [blocks, 16]
    low = _nibbles(low.reshape(-1, 2, 64)).view(-1, 2, 4, 32)
    shifts = torch.tensor([0, 2, 4, 6], dtype=torch.uint8).view(1, 1, 4, 1)
    high = high.reshape(-1, 2, 1, 32) >> shifts & 3
    q = (low | high << 4).to(torch.int8) - 32
    return q.view(-1, 16, 16).float().mul_(scale[..., None])


_FLOATS: dict[str, Callable[[Tensor], Tensor]] = {
    "Q8_0": _q8_0_floats,
    "Q6_K": _q6_k_floats,
}
"""Faster readers for the types of embeddings, with the same results as the `gguf`
package, which reads 16 rows at a time."""
