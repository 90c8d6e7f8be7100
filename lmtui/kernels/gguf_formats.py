"""Formats of weights in GGUF files whose blocks can be multiplied. Imports no torch."""

from __future__ import annotations

from typing import NamedTuple


class Format(NamedTuple):
    """A format of blocks."""

    number: int
    """In GGUF files."""
    weights: int
    """Of a block."""
    size: int
    """Bytes of a block."""
    scales: tuple[int, ...]
    """Where its float16 numbers lie, in bytes."""


FORMATS = {
    "F32": Format(0, 1, 4, (2,)),
    "F16": Format(1, 1, 2, (0,)),
    "Q4_0": Format(2, 32, 18, (0,)),
    "Q4_1": Format(3, 32, 20, (0, 2)),
    "Q5_0": Format(6, 32, 22, (0,)),
    "Q5_1": Format(7, 32, 24, (0, 2)),
    "Q8_0": Format(8, 32, 34, (0,)),
    "Q2_K": Format(10, 256, 84, (80, 82)),
    "Q3_K": Format(11, 256, 110, (108,)),
    "Q4_K": Format(12, 256, 144, (0, 2)),
    "Q5_K": Format(13, 256, 176, (0, 2)),
    "Q6_K": Format(14, 256, 210, (208,)),
    "IQ4_NL": Format(20, 32, 18, (0,)),
    "IQ4_XS": Format(23, 256, 136, (0,)),
    "BF16": Format(30, 1, 2, (0,)),
}
"""The formats that can be multiplied, by the name of a tensor's type. All rows have a
multiple of 32 weights."""

DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Torch's names of those whose blocks are single weights."""


def bits_of(name: str) -> int:
    """Return the bits of a weight in a format, its scales not counted."""
    _, weights, size, scales = FORMATS[name]
    return 8 * (size if name in DTYPES else size - 2 * len(scales)) // weights
