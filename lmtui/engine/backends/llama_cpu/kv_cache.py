"""KV cache in preallocated memory, and attention over it.

Adding a token copies nothing but its own keys and values. Rows that continue one text
share its keys and values, which are then read once for all rows. Knows no weights. n
are rows, t tokens; H, KV and d are as in `models.llama.weights`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.engine.backend import FIRST_ROOM, FORK_ROOM, grown_room
from lmtui.kernels.gguf_matmul import KVAddress

_FEW = 8  # most tokens of a decode step: one drawn, the rest speculated


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a cache that its model determines."""

    layers: int
    """Those that attend."""
    kv_heads: int
    width: int
    """R, that of the widest head; narrower ones fill a part."""
    state: int = 0
    """Numbers of a row's recurrent state."""


class PreallocatedKVCache:
    """Keys and values of n rows, which may all continue one other row.

    Memory is one tensor [layers, n, 2·KV, room, R], whose room doubles when it is full.
    It is float32; float16 where compiled attention reads it (see `attention`), whose
    time is that of reading memory. torch's attention is slower with float16.

    A pass changes the recurrent states in place, also where it is cancelled.
    """

    def __init__(
        self,
        sizes: Sizes,
        rows: int = 1,
        *,
        before: PreallocatedKVCache | None = None,
        shared: int = 0,
    ) -> None:
        """`shared` is the number of first tokens of `before` that these rows
        continue."""
        self._sizes = sizes
        self._rows = rows
        self._before = before if shared else None
        self._shared = shared
        self._own = 0
        self._dtype = torch.float32
        self._spare = FIRST_ROOM if before is None else FORK_ROOM
        self._data = self._allocate(self._spare)
        if before is None:
            self.states = torch.zeros(rows, sizes.state)
            """float32 [n, numbers of a row's recurrent state]."""
        else:
            self.states = before.states.repeat(rows, 1)

    def _allocate(self, tokens: int) -> Tensor:
        sizes = self._sizes
        heads = 2 * sizes.kv_heads
        room = sizes.layers, self._rows, heads, tokens, sizes.width
        return torch.empty(room, dtype=self._dtype)

    @property
    def length(self) -> int:
        """Number of tokens of a row, the shared ones included."""
        return self._shared + self._own

    @property
    def row_bytes(self) -> int:
        return self._data[:, :1, :, :1].nbytes * FORK_ROOM + self.states[:1].nbytes

    def crop(self, length: int) -> None:
        if length < self._shared:
            raise ValueError("rows keep what they continue")
        self._own = min(self._own, length - self._shared)

    def fork(self, rows: int, length: int | None = None) -> PreallocatedKVCache:
        """Return `rows` rows that continue the first `length` tokens of this one, or
        all."""
        if self._shared or self._rows > 1:
            raise ValueError("only one row that continues no other can be forked")
        shared = self.length if length is None else min(length, self.length)
        return PreallocatedKVCache(self._sizes, rows, before=self, shared=shared)

    def with_states(self, other: PreallocatedKVCache) -> PreallocatedKVCache:
        changed = copy(self)
        changed.states = other.states
        return changed

    def select_rows(self, rows: Sequence[int]) -> None:
        self._data, self.states = self._data[:, rows], self.states[rows]
        self._rows = len(rows)

    def reserve(self, tokens: int, dtype: torch.dtype) -> KVWriter:
        """Make room for `tokens` more tokens in every layer and return a writer; call
        `commit` once it is filled. The whole cache is `dtype` from then on."""
        self._grow(tokens, dtype)
        own, before = self._data[:, :, :, : self._own + tokens], None
        if self._before is not None:
            before = self._before._data[:, :, :, : self._shared]
        return KVWriter(own, before, tokens)

    def reserve_addresses(self, tokens: int) -> KVAddresses:
        """Make room for `tokens` more tokens in every layer and return the memory
        addresses, of float16; valid until the cache changes."""
        self._grow(tokens, torch.float16)
        own = KVAddress.of(self._data, self._own)
        if self._before is None:
            return KVAddresses(KVAddress(), own)
        return KVAddresses(KVAddress.of(self._before._data, self._shared), own)

    def _grow(self, tokens: int, dtype: torch.dtype) -> None:
        self._convert_to(dtype)
        need, have = self._own + tokens, self._data.shape[3]
        if need > have:
            larger = self._allocate(grown_room(have, need, self._spare))
            larger[:, :, :, : self._own] = self._data[:, :, :, : self._own]
            self._data = larger

    def _convert_to(self, dtype: torch.dtype) -> None:
        if self._dtype != dtype:
            self._dtype, self._data = dtype, self._data.to(dtype)
        if self._before is not None:
            self._before._convert_to(dtype)

    def commit(self, tokens: int) -> None:
        """Count `tokens` more tokens, which were written in every layer."""
        self._own += tokens


@dataclass(frozen=True, slots=True)
class KVAddresses:
    """Memory addresses of all keys and values that new tokens attend to."""

    shared: KVAddress
    """The part that all rows share; its count is 0 where they share nothing."""
    own: KVAddress


@dataclass(frozen=True, slots=True)
class KVWriter:
    """Writes the new tokens of one pass to a cache, and attends over it."""

    own: Tensor
    """[layers, n, 2·KV, s, R], the new tokens included."""
    shared: Tensor | None
    """[layers, 1, 2·KV, s, R], if the rows continue another."""
    tokens: int
    """The new ones of a row."""

    def write(self, layer: int, keys_values: Tensor) -> None:
        """Write the keys and values [n, 2·KV, t, d] of the new tokens."""
        width = keys_values.shape[-1]
        self.own[layer, :, :, -self.tokens :, :width] = keys_values

    def attend(
        self, layer: int, queries: Tensor, mask: Tensor | None, window: int
    ) -> Tensor:
        """Return the attention output [n, H, t, d] of the new tokens' queries [n, H, t,
        d] in a layer. Each token attends to the cache and, of the new tokens, to itself
        and those before it; or to those for which `mask`, [t, t], is 0 and not -inf; of
        all these to the last `window` positions."""
        width = queries.shape[-1]
        seen = self.own[layer, ..., :width]
        if self.shared is not None:
            before = self.shared[layer, ..., :width].expand(len(seen), -1, -1, -1)
            seen = torch.cat([before, seen], 2)
        keys, values = seen.float().chunk(2, 1)
        return _sdpa(queries, keys, values, mask, window)


def _sdpa(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, window: int
) -> Tensor:
    """Attention of queries [n, H, t, d] over keys and values [n, KV, s, d], the last t
    of which are the queries' own, under a mask [t, t] of those, to the last `window`
    positions."""
    rows, heads, tokens, head = queries.shape
    kv_heads, cache = keys.shape[1], keys.shape[2] - tokens
    if mask is None and cache == 0 and 1 < tokens <= window:
        return F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=True
        )
    if mask is None and tokens <= _FEW:
        # The last bit of a sum depends on the shape of the product, and rounding to
        # bfloat16 makes that a visible difference. Speculated tokens must get the
        # numbers of plain decoding, so each query runs by itself.
        seen = (
            slice(max(0, end - window), end)
            for end in range(cache + 1, cache + tokens + 1)
        )
        singles = [
            F.scaled_dot_product_attention(
                queries[:, :, i : i + 1],
                *(keys[:, :, part], values[:, :, part]),
                enable_gqa=True,
            )
            for i, part in enumerate(seen)
        ]
        return torch.cat(singles, 2)
    # 1) the keys that the first token sees
    cache = min(cache, window - 1)
    keys, values = keys[:, :, -cache - tokens :], values[:, :, -cache - tokens :]
    whole = _causal_mask(mask, cache, tokens)
    if whole is not None and window < cache + tokens:
        # in a tree, the position of a token is the number of those before it it sees
        new = torch.arange(tokens) if mask is None else (mask == 0).sum(1) - 1
        places = torch.cat([torch.arange(-cache, 0), new])
        whole.masked_fill_(new[:, None] - places >= window, -math.inf)
    # 2) grouped-query attention: heads that share keys become more queries of one head
    share = heads // kv_heads
    outputs = F.scaled_dot_product_attention(
        queries.reshape(rows, kv_heads, share * tokens, head),
        keys,
        values,
        attn_mask=None if whole is None else whole.repeat(share, 1),
    )
    return outputs.view(rows, heads, tokens, head)


def _causal_mask(mask: Tensor | None, cache: int, tokens: int) -> Tensor | None:
    """Return the additive attention mask [t, cache + t]: 0 for cached tokens, then
    `mask` or a causal one; None for a single token, which attends to everything."""
    if tokens == 1:
        return None
    if mask is None:
        mask = torch.full((tokens, tokens), -math.inf).triu_(1)
    return torch.cat([torch.zeros(tokens, cache), mask], 1)
