"""Reader of GGUF headers that trusts nothing in the file.

Every count, length, offset and size is checked against the file before it is used.
Reads no weights. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from lmtui.errors import LmtuiError

GgufValue = bool | int | float | str

SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
STRING, _ARRAY = 8, 9
_U32, _U64 = SCALARS[4], SCALARS[10]

# Far above those of any model, and low enough to be read at once.
_MOST_PAIRS = 1 << 12
_MOST_TENSORS = 1 << 17
_MOST_STRINGS = 1 << 22
_LONGEST_NAME = 1 << 16
_MOST_DIMENSIONS = 4
_LARGEST_ALIGNMENT = 1 << 20


class _Hostile(Exception):
    """Raised where the file contradicts itself or the format."""


@dataclass(frozen=True, slots=True)
class GgufTensor:
    name: str
    shape: tuple[int, ...]
    """The fastest-varying dimension first, as GGUF writes it."""
    type: str
    """The type of its blocks: `F32`, `Q4_K`, …"""
    bytes: int
    offset: int
    """In bytes, from the beginning of the file."""


@dataclass(frozen=True, slots=True)
class GgufArray:
    """The place of an array in the file."""

    kind: int
    """The format's number for the type of the items."""
    count: int
    offset: int
    """In bytes, from the beginning of the file."""


@dataclass(frozen=True)
class GgufHeader:
    """The header of a GGUF file, checked to be consistent."""

    path: Path
    version: int
    bytes: int
    """The size of the file."""
    pairs: dict[str, GgufValue | GgufArray]
    """The key-value pairs in the file's order; arrays have not been read."""
    tensors: tuple[GgufTensor, ...]

    @cached_property
    def values(self) -> dict[str, GgufValue]:
        """The pairs without the arrays."""
        pairs = self.pairs.items()
        return {k: v for k, v in pairs if not isinstance(v, GgufArray)}

    @property
    def architecture(self) -> str:
        """The family of models that it belongs to: `llama`, `qwen3`, …"""
        return str(self.values.get("general.architecture", "unknown"))

    def field(self, name: str, default: Any = None) -> Any:
        """Return a value that the architecture has, no array, by its name there."""
        return self.values.get(f"{self.architecture}.{name}", default)

    @property
    def name(self) -> str:
        """The name in the header, or the file's."""
        return str(self.values.get("general.name") or self.path.stem)

    @property
    def context(self) -> int | None:
        value = self.field("context_length")
        return value if isinstance(value, int) else None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of all tensors, by name: rows first, as in torch."""
        return {tensor.name: tensor.shape[::-1] for tensor in self.tensors}

    @property
    def parameters(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def by_type(self) -> dict[str, int]:
        """The number of weights of each type, the most used type first."""
        counts: Counter[str] = Counter()
        for tensor in self.tensors:
            counts[tensor.type] += math.prod(tensor.shape)
        return dict(counts.most_common())

    @property
    def dtype(self) -> str:
        """The type that most weights are stored in."""
        return next(iter(self.by_type), "F32")

    @property
    def quantisation(self) -> str:
        """The types of its weights, the most used first: `Q4_1, Q6_K, F32`."""
        return ", ".join(self.by_type)

    @property
    def has_template(self) -> bool:
        return "tokenizer.chat_template" in self.values


def read_gguf_header(path: Path) -> GgufHeader:
    try:
        with path.open("rb") as file:
            start = file.read(4)
            if start != b"GGUF":
                raise _not_gguf(path, start)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, path).header()
    except OSError as error:
        raise _unreadable(path, error) from error
    except (_Hostile, ValueError) as error:
        raise _damaged(path, str(error)) from error


def read_array(header: GgufHeader, key: str) -> list[Any] | None:
    """Return the items of an array in the file; None where it has no such array. Texts
    are bytes, since not every file's are UTF-8."""
    array = header.pairs.get(key)
    if not isinstance(array, GgufArray):
        return None
    try:
        with (
            header.path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return read_items(array, data)
    except OSError as error:
        raise _unreadable(header.path, error) from error
    except (struct.error, ValueError) as error:
        raise _damaged(header.path, str(error)) from error


def read_items(array: GgufArray, data: mmap.mmap) -> list[Any]:
    """Return the items of an array, given the bytes of its file."""
    if array.kind != STRING:
        item_format = SCALARS[array.kind].format[1:]
        return [*struct.unpack_from(f"<{array.count}{item_format}", data, array.offset)]
    items, at = [], array.offset
    for _ in range(array.count):
        (length,) = _U64.unpack_from(data, at)
        at += _U64.size
        items.append(data[at : at + length])
        at += length
    return items


def _not_gguf(path: Path, start: bytes) -> LmtuiError:
    why = f"it begins with {start!r}" if start else "it is empty"
    return LmtuiError(
        "this is not a GGUF file",
        f"{path}: {why}",
        "Fetch the file again, or name another; a GGUF file begins with GGUF.",
    )


def _unreadable(path: Path, error: OSError) -> LmtuiError:
    return LmtuiError(
        "this file can't be read",
        f"{path} ({error.strerror})",
        "Check its permissions.",
    )


def _unsupported(path: Path, why: str) -> LmtuiError:
    return LmtuiError(
        "this GGUF file is not supported",
        f"{path}: {why}",
        "Use another file of the model, or a newer lmtui.",
    )


def _damaged(path: Path, why: str) -> LmtuiError:
    return LmtuiError(
        "this GGUF file is damaged or cut short",
        f"{path}: {why}",
        "Fetch or copy the file again.",
    )


@dataclass(slots=True)
class _Reader:
    """A single pass through the header."""

    data: mmap.mmap
    path: Path
    at: int = 4
    pairs: dict[str, GgufValue | GgufArray] = field(default_factory=dict)

    def header(self) -> GgufHeader:
        version = self._number(_U32)
        if version not in (2, 3):
            why = f"version {version:,} of the format is not read"
            raise _unsupported(self.path, why)
        tensors = self._count(_MOST_TENSORS, "tensors")
        pairs = self._count(_MOST_PAIRS, "key-value pairs")
        for _ in range(pairs):
            self._pair()
        entries = [self._entry() for _ in range(tensors)]
        return GgufHeader(
            self.path,
            version,
            len(self.data),
            self.pairs,
            self._located_tensors(entries),
        )

    def _skip(self, length: int) -> int:
        """Move past `length` bytes; return where they began."""
        start = self.at
        if length > len(self.data) - start:
            raise self._too_short()
        self.at = start + length
        return start

    def _too_short(self) -> _Hostile:
        return _Hostile(f"it ends at {len(self.data):,} bytes, inside its header")

    def _number(self, kind: struct.Struct) -> int:
        value: int = kind.unpack_from(self.data, self._skip(kind.size))[0]
        return value

    def _count(self, limit: int, what: str) -> int:
        count = self._number(_U64)
        if count > len(self.data):
            raise _Hostile(f"it claims to have {count:,} {what}")
        if count > limit:
            why = f"it has {count:,} {what}; more than {limit:,} are not read"
            raise _unsupported(self.path, why)
        return count

    def _text(self, longest: int | None = None) -> str:
        length = self._number(_U64)
        if longest is not None and length > longest:
            raise _Hostile(f"it has a name of {length:,} bytes")
        start = self._skip(length)
        return self.data[start : start + length].decode("utf-8", errors="replace")

    def _pair(self) -> None:
        key = self._text(_LONGEST_NAME)
        if key in self.pairs:
            raise _Hostile(f"it has the key {key!r} twice")
        kind = self._number(_U32)
        if kind == _ARRAY:
            self.pairs[key] = self._array()
        elif kind == STRING:
            self.pairs[key] = self._text()
        elif kind in SCALARS:
            self.pairs[key] = self._number(SCALARS[kind])
        else:
            raise _Hostile(f"the key {key!r} has an unknown type, {kind}")

    def _array(self) -> GgufArray:
        kind, count = self._number(_U32), self._number(_U64)
        array = GgufArray(kind, count, self.at)
        if kind in SCALARS:
            self._skip(count * SCALARS[kind].size)
        elif kind == STRING and count <= _MOST_STRINGS:
            self._skip_strings(count)
        else:
            raise _Hostile(f"an array of {count:,} items of type {kind}")
        return array

    def _skip_strings(self, count: int) -> None:
        """Move past `count` strings, of which a header has about a hundred thousand."""
        data, at, last = self.data, self.at, len(self.data) - _U64.size
        for _ in range(count):
            if at > last:
                raise self._too_short()
            at += _U64.size + _U64.unpack_from(data, at)[0]
        self._skip(at - self.at)

    def _entry(self) -> tuple[str, tuple[int, ...], int, int]:
        """Read a tensor's name, shape, type and offset, unchecked."""
        name = self._text(_LONGEST_NAME)
        dimensions = self._number(_U32)
        if dimensions > _MOST_DIMENSIONS:
            raise _Hostile(f"the tensor {name!r} has {dimensions:,} dimensions")
        shape = tuple(self._number(_U64) for _ in range(dimensions))
        return name, shape, self._number(_U32), self._number(_U64)

    def _located_tensors(
        self, entries: list[tuple[str, tuple[int, ...], int, int]]
    ) -> tuple[GgufTensor, ...]:
        """Return the tensors with their sizes, checked to lie inside the file."""
        alignment = self.pairs.get("general.alignment", 32)
        if not isinstance(alignment, int) or not 1 <= alignment <= _LARGEST_ALIGNMENT:
            raise _Hostile(f"its alignment is {alignment}")
        begin = -(-self.at // alignment) * alignment
        tensors = tuple(_located_tensor(entry, begin, alignment) for entry in entries)
        if len({tensor.name for tensor in tensors}) < len(tensors):
            raise _Hostile("two of its tensors have the same name")
        end = max((tensor.offset + tensor.bytes for tensor in tensors), default=0)
        if end > len(self.data):
            raise _Hostile(f"it has {len(self.data):,} bytes of {end:,}")
        # Overlapping tensors would turn a small file into a huge model.
        if sum(tensor.bytes for tensor in tensors) > max(0, len(self.data) - begin):
            raise _Hostile("its tensors overlap")
        return tensors


def _located_tensor(
    entry: tuple[str, tuple[int, ...], int, int], begin: int, alignment: int
) -> GgufTensor:
    # Imported here: it takes 0.2 s, and only GGUF files need it.
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    name, shape, number, offset = entry
    try:
        kind = GGMLQuantizationType(number)
        block, block_bytes = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError):
        raise _Hostile(f"the tensor {name!r} has an unknown type, {number}") from None
    row = shape[0] if shape else 1
    if row % block or offset % alignment:
        raise _Hostile(f"the tensor {name!r} does not fit its type or place")
    size = math.prod(shape) // block * block_bytes
    return GgufTensor(name, shape, kind.name, size, begin + offset)
