"""Checks of the numbers in a GGUF header against its tensors.

Later code allocates memory and counts by these numbers. A tensor under a name unknown
to this module is not compared.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

from lmtui.errors import LmtuiError
from lmtui.models.gguf.header import (
    GgufArray,
    GgufHeader,
    GgufValue,
    read_array,
    read_gguf_header,
)

_LONGEST_CONTEXT = 1 << 27  # tokens: ten times the longest context of any model
_EQUAL_IN_LAYERS = (
    "attention.head_count",
    "attention.head_count_kv",
    "feed_forward_length",
)
_DIFFERENT_LAYERS = ("deci", "gemma4", "lfm2", "nemotron_h")
"""Architectures whose layers may differ in these."""
_BLOCK = re.compile(r"blk\.(\d+)\.")
_TEXTS = ("context_length", "original_context_length", "sliding_window")
"""Numbers that count tokens of a text, and that no tensor's shape bounds."""


def read_gguf_model(path: Path) -> GgufHeader:
    """Read the header of a GGUF file, and check its numbers against its tensors."""
    header = _without_lists(read_gguf_header(path))
    if header.tensors:
        _Numbers(header).check()
    return header


def require_whole(header: GgufHeader) -> None:
    """Refuse a file that is no whole model."""
    if not header.tensors:
        raise LmtuiError(
            "this GGUF file has no weights",
            str(header.path),
            "Name a file with a whole model; this may be a vocabulary only.",
        )
    parts = header.values.get("split.count", 1)
    if isinstance(parts, int) and parts > 1:
        raise LmtuiError(
            "this GGUF file is one part of several",
            f"{header.path}: one of {parts}",
            "Merge the parts first: llama-gguf-split --merge FIRST OUT.",
        )


def _without_lists(header: GgufHeader) -> GgufHeader:
    """Return a header in which a list of equal numbers, one for each layer, is that
    number."""
    pairs = dict(header.pairs)
    for name in _EQUAL_IN_LAYERS:
        key = f"{header.architecture}.{name}"
        items = read_array(header, key)
        if not items or header.architecture in _DIFFERENT_LAYERS:
            continue
        if not all(isinstance(item, int) for item in items):
            raise LmtuiError(
                "this GGUF file contradicts itself",
                f"{header.path}: {key} are no whole numbers",
                "Fetch or copy the file again, or use another.",
            )
        if len({*items}) > 1:
            raise LmtuiError(
                "this kind of model is not supported",
                f"{header.path}: {key} differs between its layers",
                "Use another model.",
            )
        pairs[key] = items[0]
    return replace(header, pairs=pairs)


class _Numbers:
    def __init__(self, header: GgufHeader) -> None:
        self._header = header
        self._shapes = {tensor.name: tensor.shape for tensor in header.tensors}
        # GGUF's order: a matrix [rows, columns] is (columns, rows) here
        self._largest = max(max(s, default=1) for s in self._shapes.values())

    def check(self) -> None:
        self._counts()
        self._layers()
        self._floats()
        self._widths()
        self._vocabulary()

    def _counts(self) -> None:
        """Check that no size or count exceeds the largest dimension and the number of
        tensors."""
        most = max(self._largest, len(self._shapes))
        for name, value in self._header.values.items():
            last = name.rpartition(".")[2]
            if isinstance(value, bool) or not isinstance(value, int):
                continue
            if last in _TEXTS:
                self._require(name, value, 0 <= value <= _LONGEST_CONTEXT, "plausible")
            elif name.startswith(f"{self._header.architecture}."):
                fits = 0 <= value <= most
                self._require(name, value, fits, f"at most {most:,}, by its tensors")
        context = self._value("context_length")
        if context is not None:
            self._require("context_length", context, context >= 1, "at least 1")

    def _layers(self) -> None:
        numbers = {int(m[1]) for m in map(_BLOCK.match, self._shapes) if m}
        layers = self._value("block_count")
        if layers is None:
            return
        words = f"{len(numbers):,}, by its tensors"
        self._require("block_count", layers, numbers == set(range(int(layers))), words)

    def _floats(self) -> None:
        for name, value in self._header.values.items():
            if not isinstance(value, float):
                continue
            if name.endswith("epsilon"):
                self._require(name, value, 0 < value < 1, "between 0 and 1")
            elif ".rope." in name:
                fits = math.isfinite(value) and value >= 0
                self._require(name, value, fits, "a positive number")
        base = self._value("rope.freq_base")
        if base is not None:
            self._require("rope.freq_base", base, base > 0, "a positive number")

    def _widths(self) -> None:
        width, heads = self._value("embedding_length"), self._size("head_count")
        embedding = self._shapes.get("token_embd.weight", ())
        if width is not None and len(embedding) == 2:
            fits = width == embedding[0]
            self._require("embedding_length", width, fits, f"{embedding[0]:,}")
        if width is None or heads is None:
            return
        self._require("head_count", heads, heads >= 1, "at least 1")
        head = self._size("key_length")
        head = int(width) // heads if head is None else head
        counts = {"attn_q": heads}
        by_layer = f"{self._header.architecture}.attention.head_count_kv"
        if not isinstance(self._header.pairs.get(by_layer), GgufArray):
            keys = self._size("head_count_kv")
            keys = counts["attn_k"] = heads if keys is None else keys
            fits = 1 <= keys <= heads and heads % keys == 0
            self._require("head_count_kv", keys, fits, f"a divisor of {heads:,}")
        # Layers that look back a limited way may have narrower heads.
        narrow = self._size("key_length_swa") or head
        for name, count in counts.items():
            for tensor, shape in self._shapes.items():
                if tensor.endswith(f".{name}.weight") and len(shape) == 2:
                    fits = count * min(head, narrow) <= shape[1]
                    words = f"{shape[1]:,} rows in all, as {tensor} has"
                    self._require("key_length", head, fits, words)
        feed = self._value("feed_forward_length")
        for tensor, shape in self._shapes.items():
            if feed is not None and tensor.endswith(".ffn_up.weight"):
                words = f"at most {shape[-1]:,}, as {tensor} has"
                self._require("feed_forward_length", feed, feed <= shape[-1], words)
        turned = self._value("rope.dimension_count")
        if turned is not None:
            fits = 2 <= turned <= head and turned % 2 == 0
            words = f"even, and at most the {head:,} of a head"
            self._require("rope.dimension_count", turned, fits, words)

    def _vocabulary(self) -> None:
        shape = self._shapes.get("token_embd.weight", ())
        tokens = self._header.pairs.get("tokenizer.ggml.tokens")
        if len(shape) == 2 and isinstance(tokens, GgufArray):
            fits = tokens.count <= shape[1]
            words = f"at most {shape[1]:,}, as its embedding has"
            self._require("tokenizer.ggml.tokens", tokens.count, fits, words)

    def _value(self, name: str) -> int | float | None:
        value = self._header.field(name)
        if isinstance(value, bool | str) or not math.isfinite(value or 0):
            whole = f"{self._header.architecture}.{name}"
            raise self._contradiction(whole, value, "a number")
        number: int | float | None = value
        return number

    def _size(self, name: str) -> int | None:
        value = self._value(f"attention.{name}")
        return None if value is None else int(value)

    def _require(self, name: str, value: GgufValue, fits: bool, words: str) -> None:
        if not fits:
            raise self._contradiction(name, value, words)

    def _contradiction(self, name: str, value: GgufValue, words: str) -> LmtuiError:
        return LmtuiError(
            "this GGUF file contradicts itself",
            f"{self._header.path}: {name} is {value!r:.40}, and should be {words}",
            "Fetch or copy the file again, or use another.",
        )
