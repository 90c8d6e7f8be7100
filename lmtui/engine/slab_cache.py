"""The library's cache, in memory that is taken in advance.

Owns how that memory grows. Nothing that is held is copied when a token is added: what
attention reads are views on it. Knows no model.

n are rows, KV their heads for keys and values, t tokens, d the width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_FIRST = 256  # tokens that room is taken for in advance, at first
_OWN = 32  # the same, in rows that continue others; each time it is twice as much


def slab_cache(config: Any = None) -> DynamicCache:
    """A cache that keeps every token in as many layers as ask for it; or, for a
    configuration some of whose layers do otherwise, one that has those as they are."""
    if config is None:
        cache = DynamicCache()
        cache.layer_class_to_replicate = SlabLayer
        return cache
    cache = DynamicCache(config=config)
    cache.layers = [
        SlabLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


class SlabLayer(DynamicLayer):  # type: ignore[misc]
    """As the library's layer that grows, which every mask and model knows; `keys` and
    `values` [n, KV, t, d] are the part of the slabs that is in use."""

    def __init__(self, spare: int = _FIRST) -> None:
        """`spare` is the number of tokens to take memory in advance for."""
        super().__init__()
        self._spare = spare
        self._slabs: tuple[Tensor, Tensor] | None = None
        """[n, KV, room, d] each; None where `keys` and `values` are not its own."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Hold no tokens of this kind."""
        self.device = key_states.device
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Add tokens; all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.keys.shape[2]
        end = held + key_states.shape[2]
        if self._slabs is None or end > self._slabs[0].shape[2]:
            self._slabs = self._slab(self.keys, end), self._slab(self.values, end)
            self._spare *= 2
        keys, values = self._slabs
        keys[:, :, held:end] = key_states
        values[:, :, held:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def _slab(self, held: Tensor, tokens: int) -> Tensor:
        """Room for so many tokens and more, with those that are held."""
        rows, heads, length, width = held.shape
        slab = held.new_empty(rows, heads, tokens + self._spare, width)
        slab[:, :, :length] = held
        return slab

    def fork(self, rows: int, length: int | None) -> SlabLayer:
        """So many rows, each with the first `length` tokens of this one; their memory
        is this one's until a token is added to them."""
        forked = SlabLayer(_OWN)
        if self.is_initialized:
            forked.lazy_initialization(self.keys, self.values)
            forked.keys = self.keys[:, :, :length].expand(rows, -1, -1, -1)
            forked.values = self.values[:, :, :length].expand(rows, -1, -1, -1)
        return forked

    @property
    def row_bytes(self) -> int:
        """Bytes of memory that a row of a fork takes with its first token."""
        if not self.is_initialized:
            return 0
        tokens = self.keys.shape[2] + 1 + _OWN
        one = (each[:1, :, :1] for each in self._slabs or (self.keys, self.values))
        return sum(token.nbytes for token in one) * tokens

    def batch_select_indices(self, indices: Sequence[int]) -> None:
        """Hold these rows alone."""
        if self._slabs is None:
            if self.is_initialized:
                self.keys, self.values = self.keys[indices], self.values[indices]
            return
        keys, values = self._slabs
        end = self.keys.shape[2]
        self._slabs = keys, values = keys[indices], values[indices]
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]

    def reset(self) -> None:
        """Hold nothing, and no memory."""
        self._slabs = None
        super().reset()
