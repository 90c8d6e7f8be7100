"""Reading what a safetensors file says about itself, and whether it is all there.

Owns the checks that need no weights: the header against the size of the file.
Knows nothing of models.

Format: 8 bytes with the length N of the header, N bytes of JSON that give each
tensor's dtype, shape and place, then the tensors' bytes.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmtui.errors import LmtuiError

_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""Of a number, by dtype name."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One safetensors file, found to be whole."""

    path: Path
    bytes: int
    parameters: dict[str, int]
    """Number of weights by dtype name: `F32`, `BF16`, …"""
    shapes: dict[str, tuple[int, ...]]
    """Of each tensor, by name."""
    dtypes: dict[str, str]
    """The same."""


def read_weight_file(path: Path) -> WeightFile:
    """Read the header of `path` and check it against the file's size.

    Raises:
        LmtuiError: the file is cut short or is no safetensors file.
    """
    try:
        size = path.stat().st_size
        header = _header(path, size)
        found, end = _measure(header)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, f"its header can't be read: {error}") from error
    if end > size:
        raise _damaged(path, f"it has {size:,} bytes of {end:,}")
    parameters: Counter[str] = Counter()
    for dtype, shape in found.values():
        parameters[dtype] += math.prod(shape)
    return WeightFile(
        path,
        size,
        dict(parameters),
        {name: shape for name, (_, shape) in found.items()},
        {name: dtype for name, (dtype, _) in found.items()},
    )


def _header(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
        return length.to_bytes(8, "little") + file.read(length)


def _measure(header: bytes) -> tuple[dict[str, tuple[str, tuple[int, ...]]], int]:
    """The dtype and the shape of each tensor, by name, and where the last one ends in
    the file, in bytes."""
    tensors: dict[str, Any] = json.loads(header[8:], parse_constant=_refuse)
    tensors.pop("__metadata__", None)
    found = {}
    last = stored = 0
    for name, tensor in tensors.items():
        begin, end = tensor["data_offsets"]
        dtype, shape = tensor["dtype"], tuple(map(_size, tensor["shape"]))
        if dtype not in _BITS:
            raise ValueError(f"the tensor {name!r} has an unknown dtype, {dtype!r:.20}")
        if not 0 <= _size(begin) <= _size(end):
            raise ValueError("a tensor ends before it begins")
        if math.prod(shape) * _BITS[dtype] != 8 * (end - begin):
            raise ValueError(f"the tensor {name!r} does not fit its dtype or place")
        found[name] = dtype, shape
        last, stored = max(last, end), stored + end - begin
    # Tensors on top of each other would make a small file a huge model.
    if stored > last:
        raise ValueError("its tensors overlap")
    return found, len(header) + last


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r:.20} is no size")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no size")


def _damaged(path: Path, why: str) -> LmtuiError:
    return LmtuiError(
        "a weights file is damaged or cut short",
        f"{path}: {why}",
        "Fetch or copy the file again.",
    )
