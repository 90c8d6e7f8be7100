"""What the libraries ask of a GGUF header, from one reading of it.

Owns the stand-ins for their own readers, which take seconds where ours takes a tenth of
one: they go through the header three times, one of them item by item with numpy. The
header was checked before. Which of the values means what stays the libraries' affair.
"""

from __future__ import annotations

import copy
import mmap
import struct
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from lmtui.models.gguf_header import SCALARS, STRING, GgufArray, GgufHeader, GgufTensor
from lmtui.models.quiet import replaced

_LOOKS_FURTHER = ("gpt-oss", "gpt_oss")
"""Architectures for which the library takes numbers from beside a value."""

_ARRAY = 9
_KINDS = {bool: 7, int: 10, float: 12, str: STRING}
_LENGTH = struct.Struct("<Q")


@contextmanager
def read_once(header: GgufHeader) -> Iterator[None]:
    """Let transformers read the header of this file here, once, and no other file.

    Both its configuration and its tokenizer ask for it, each anew, so what reads is
    replaced where they look it up. A header that isn't all UTF-8 is left to them, and
    any to a version that reads in another place.
    """
    here = header.architecture not in _LOOKS_FURTHER and _is_clean(header)
    try:
        import gguf
        import transformers.modeling_gguf_pytorch_utils as legacy
        from transformers.integrations import gguf as library
        from transformers.integrations.gguf import reader

        load = legacy.load_gguf_checkpoint
        here = here and library.read_gguf_metadata is reader.read_gguf_metadata
    except (ImportError, AttributeError):
        here = False
    if not here:
        yield
        return
    pairs = _pairs_of(header)

    def metadata(
        path: str, string_arrays: Collection[str] = ()
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        return library_metadata(header, pairs, string_arrays)

    @cache
    def checkpoint(path: str) -> dict[str, Any]:
        with replaced(gguf, "GGUFReader", lambda path: FieldsReader(header, pairs)):
            found: dict[str, Any] = load(path, return_tensors=False)
        return found

    def remembered(path: str, return_tensors: bool = False, **more: Any) -> Any:
        if return_tensors:
            return load(path, return_tensors=True, **more)
        # Who gets the configuration takes things out; nobody changes a list of tokens.
        known = checkpoint(path)
        return {**known, "config": copy.deepcopy(known["config"])}

    with ExitStack() as stack:
        stack.enter_context(replaced(legacy, "load_gguf_checkpoint", remembered))
        for module in (reader, library):
            stack.enter_context(replaced(module, "read_gguf_metadata", metadata))
        yield


def _is_clean(header: GgufHeader) -> bool:
    """Whether all that was read is UTF-8: the rest was replaced by this character."""
    names = (tensor.name for tensor in header.tensors)
    texts = (value for value in header.values.values() if isinstance(value, str))
    return not any("\ufffd" in text for text in (*header.pairs, *names, *texts))


_Pair = Any  # a value of the header, or the items of an array: bytes where it has text


def _pairs_of(header: GgufHeader) -> dict[str, _Pair]:
    """Every pair in the order of the file, the arrays read."""
    with (
        header.path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        return {
            key: _items(value, data) if isinstance(value, GgufArray) else value
            for key, value in header.pairs.items()
        }


def _items(array: GgufArray, data: mmap.mmap) -> list[Any]:
    if array.kind != STRING:
        each = SCALARS[array.kind].format[1:]
        return [*struct.unpack_from(f"<{array.count}{each}", data, array.offset)]
    items, at = [], array.offset
    for _ in range(array.count):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        items.append(data[at : at + length])
        at += length
    return items


def library_metadata(
    header: GgufHeader, pairs: dict[str, _Pair], string_arrays: Collection[str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the library's `read_gguf_metadata` says: the pairs, of an array of texts
    only the length unless it is asked for; and the names of the tensors.

    Raises:
        ValueError: a text is no UTF-8, or the file has no architecture.
    """
    if "general.architecture" not in pairs:
        raise ValueError(f"{header.path} has no `general.architecture`")
    found = {}
    for key, value in pairs.items():
        array = header.pairs[key]
        if not isinstance(array, GgufArray):
            found[key] = value
        elif array.kind != STRING:
            found[key] = list(value)
        elif key in string_arrays:
            found[key] = [item.decode() for item in value]
        else:
            found[key] = array.count
    return found, tuple(tensor.name for tensor in header.tensors)


@dataclass(frozen=True, slots=True)
class Field:
    """A pair as the `gguf` package has it: each of `data` is a place in `parts`."""

    parts: list[Any]
    data: range
    types: list[int]


class FieldsReader:
    """The header as the `gguf` package's reader tells it, without the tensors' data."""

    def __init__(self, header: GgufHeader, pairs: dict[str, _Pair]) -> None:
        counts = {
            "GGUF.version": header.version,
            "GGUF.tensor_count": len(header.tensors),
            "GGUF.kv_count": len(pairs),
        }
        self.fields = {k: _field(v) for k, v in {**counts, **pairs}.items()}
        self.tensors: tuple[GgufTensor, ...] = header.tensors


def _field(value: _Pair) -> Field:
    if not isinstance(value, list):
        return Field([_part(value)], range(1), [_KINDS[type(value)]])
    first = value[:1]
    if first and isinstance(first[0], bytes):
        return Field(value, range(len(value)), [_ARRAY, STRING])
    kinds = [_KINDS[type(item)] for item in first]
    return Field([(item,) for item in value], range(len(value)), [_ARRAY, *kinds])


def _part(value: bool | int | float | str) -> Any:
    """The bytes of a text, or a number alone."""
    return value.encode() if isinstance(value, str) else (value,)
