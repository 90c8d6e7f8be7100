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


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One safetensors file, found to be whole."""

    path: Path
    bytes: int
    parameters: dict[str, int]
    """Number of weights by dtype name: `F32`, `BF16`, …"""


def read_weight_file(path: Path) -> WeightFile:
    """Read the header of `path` and check it against the file's size.

    Raises:
        LmtuiError: the file is cut short or is no safetensors file.
    """
    try:
        size = path.stat().st_size
        header = _header(path, size)
        parameters, end = _measure(header)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(path, f"its header can't be read: {error}") from error
    if end > size:
        raise _damaged(path, f"it has {size:,} bytes of {end:,}")
    return WeightFile(path, size, parameters)


def _header(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            raise ValueError(f"a header of {length:,} bytes in a file of {size:,}")
        return length.to_bytes(8, "little") + file.read(length)


def _measure(header: bytes) -> tuple[dict[str, int], int]:
    """Weights by dtype, and where the last tensor ends in the file, in bytes."""
    tensors: dict[str, Any] = json.loads(header[8:])
    tensors.pop("__metadata__", None)
    parameters: Counter[str] = Counter()
    last = 0
    for tensor in tensors.values():
        begin, end = tensor["data_offsets"]
        if not 0 <= begin <= end:
            raise ValueError("a tensor ends before it begins")
        parameters[tensor["dtype"]] += math.prod(tensor["shape"])
        last = max(last, end)
    return dict(parameters), len(header) + last


def _damaged(path: Path, why: str) -> LmtuiError:
    return LmtuiError(
        "a weights file is damaged or cut short",
        f"{path}: {why}",
        "Fetch or copy the file again.",
    )
