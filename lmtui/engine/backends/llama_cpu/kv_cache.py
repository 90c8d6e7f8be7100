"""KV cache in preallocated memory, and attention over it.

Adding a token copies nothing but its own keys and values. Rows that continue one text
share its keys and values, which are then read once for all rows. Knows no weights. n
are rows, t tokens; H, KV and d are as in `models.llama.weights`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.engine.backend import FIRST_ROOM, FORK_ROOM, grown_room
from lmtui.kernels.gguf_matmul import UNLIMITED, KVAddress

_FEW = 8  # most tokens of a decode step: one drawn, the rest speculated
_LONG = 1024  # keys from which on two plain products are faster for one query


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes of a cache that its model determines."""

    layers: int
    kv_heads: int
    head_dim: int


class PreallocatedKVCache:
    """Keys and values of n rows, which may all continue one other row.

    Memory is one tensor [layers, n, 2·KV, room, d], whose room doubles when it is full.
    It is float32; float16 where compiled attention reads it (see `attention`), whose
    time is that of reading memory. torch's attention is slower with float16.
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
        self._before = before
        self._shared = shared
        self._own = 0
        self._dtype = torch.float32
        self._spare = FIRST_ROOM if before is None else FORK_ROOM
        self._data = self._allocate(self._spare)

    def _allocate(self, tokens: int) -> Tensor:
        sizes = self._sizes
        heads = 2 * sizes.kv_heads
        room = sizes.layers, self._rows, heads, tokens, sizes.head_dim
        return torch.empty(room, dtype=self._dtype)

    @property
    def length(self) -> int:
        """Number of tokens of a row, the shared ones included."""
        return self._shared + self._own

    @property
    def row_bytes(self) -> int:
        return self._data[:, :1, :, :1].nbytes * FORK_ROOM

    def crop(self, length: int) -> None:
        if length < self._shared:
            raise ValueError("rows keep what they continue")
        self._own = min(self._own, length - self._shared)

    def fork(self, rows: int, length: int | None = None) -> PreallocatedKVCache:
        """Return `rows` rows that continue the first `length` tokens of this one, or
        all."""
        if self._before is not None or self._rows > 1:
            raise ValueError("only one row that continues no other can be forked")
        shared = self.length if length is None else min(length, self.length)
        return PreallocatedKVCache(self._sizes, rows, before=self, shared=shared)

    def select_rows(self, rows: Sequence[int]) -> None:
        self._data = self._data[:, rows]
        self._rows = len(rows)

    def reserve(self, tokens: int, dtype: torch.dtype) -> KVWriter:
        """Make room for `tokens` more tokens in every layer and return a writer; call
        `commit` once it is filled. The whole cache is `dtype` from then on."""
        self._grow(tokens, dtype)
        shared, end = None, self._own + tokens
        if self._before is not None:
            shared = self._views(self._before._data, self._shared)
        new = self._data[:, :, :, self._own : end].unbind(0)
        return KVWriter(new, self._views(self._data, end), shared, self._own)

    def reserve_addresses(self, tokens: int) -> KVAddresses:
        """Make room for `tokens` more tokens in every layer and return the memory
        addresses, of float16; valid until the cache changes."""
        self._grow(tokens, torch.float16)
        own = KVAddress.of(self._data, self._own)
        if self._before is None:
            return KVAddresses(KVAddress(0, 0, 0, 0), own)
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

    def _views(self, data: Tensor, tokens: int) -> _KeysValues:
        kv_heads = self._sizes.kv_heads
        cache = data[:, :, :, :tokens]
        keys, values = (
            cache[:, :, :kv_heads].unbind(0),
            cache[:, :, kv_heads:].unbind(0),
        )
        return keys, values

    def commit(self, tokens: int) -> None:
        """Count `tokens` more tokens, which were written in every layer."""
        self._own += tokens


_KeysValues = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Keys and values [n, KV, t, d] of each layer."""


@dataclass(frozen=True, slots=True)
class KVAddresses:
    """Memory addresses of all keys and values that new tokens attend to."""

    shared: KVAddress
    """The part that all rows share; its count is 0 where they share nothing."""
    own: KVAddress


class KVWriter:
    """Writes the new tokens of one pass to a cache, and attends over it; all views on
    its memory are made once."""

    def __init__(
        self,
        new: Sequence[Tensor],
        own: _KeysValues,
        shared: _KeysValues | None,
        cache: int,
    ) -> None:
        self._new = new
        self._keys, self._values = own
        self._shared = shared
        self._cached = cache

    def write(self, layer: int, keys_values: Tensor) -> None:
        """Write the keys and values [n, 2·KV, t, d] of the new tokens."""
        self._new[layer].copy_(keys_values)

    def attend(
        self, layer: int, queries: Tensor, mask: Tensor | None, window: int
    ) -> Tensor:
        """Return the attention output [n, H, t, d] of the new tokens' queries [n, H, t,
        d] in a layer. Each token attends to the cache and, of the new tokens, to itself
        and those before it; or to those for which `mask`, [t, t], is 0 and not -inf; of
        all these to the last `window` positions."""
        keys, values = self._keys[layer].float(), self._values[layer].float()
        if self._shared is not None:
            far = self._shared[0][layer].float(), self._shared[1][layer].float()
            if queries.shape[0] > 1 and window == UNLIMITED:
                near = _causal_mask(mask, self._cached, queries.shape[2])
                return _shared_and_own_attention(queries, far, (keys, values), near)
            keys, values = (
                torch.cat([before.expand(len(own), -1, -1, -1), own], 2)
                for before, own in zip(far, (keys, values), strict=True)
            )
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
            _single_query(
                queries[:, :, i : i + 1], keys[:, :, part], values[:, :, part]
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


def _single_query(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of one query [n, H, 1, d] over all keys and values [n, KV, s, d]."""
    if keys.shape[2] < _LONG:
        return F.scaled_dot_product_attention(query, keys, values, enable_gqa=True)
    rows, heads, _, head = query.shape
    grouped = query.reshape(rows, keys.shape[1], -1, head) / math.sqrt(head)
    weights = (grouped @ keys.transpose(2, 3)).softmax(-1)
    return (weights @ values).view(rows, heads, 1, head)


def _causal_mask(mask: Tensor | None, cache: int, tokens: int) -> Tensor | None:
    """Return the additive attention mask [t, cache + t]: 0 for cached tokens, then
    `mask` or a causal one; None for a single token, which attends to everything."""
    if tokens == 1:
        return None
    if mask is None:
        mask = torch.full((tokens, tokens), -math.inf).triu_(1)
    return torch.cat([torch.zeros(tokens, cache), mask], 1)


def _shared_and_own_attention(
    queries: Tensor,
    shared: Sequence[Tensor],
    own: Sequence[Tensor],
    mask: Tensor | None,
) -> Tensor:
    """Attention of queries [n, H, t, d] over shared keys and values [1, KV, s, d] and
    own ones [n, KV, o, d], under a mask [t, o] of the own ones: one softmax over both.
    """
    rows, heads, tokens, head = queries.shape
    kv_heads = own[0].shape[1]
    # 1) scores; grouped-query heads become more queries of one head
    grouped = queries.reshape(rows, kv_heads, -1, head) / math.sqrt(head)
    every = grouped.transpose(0, 1).reshape(1, kv_heads, -1, head)  # of all rows
    far = every @ shared[0].transpose(2, 3)  # [1, KV, n·H/KV·t, s]
    near = grouped @ own[0].transpose(2, 3)  # [n, KV, H/KV·t, o]
    if mask is not None:
        near = near + mask.repeat(heads // kv_heads, 1)
    # 2) one softmax over shared and own keys
    far = far.view(kv_heads, rows, -1, far.shape[-1]).transpose(0, 1)
    sizes = [far.shape[-1], near.shape[-1]]
    weights = torch.cat([far, near], -1).softmax(-1)
    far, near = torch.split(weights, sizes, -1)
    # 3) weighted sums of both sets of values
    seen = far.transpose(0, 1).reshape(1, kv_heads, -1, sizes[0]) @ shared[1]
    outputs = seen.view(kv_heads, rows, -1, head).transpose(0, 1) + near @ own[1]
    return outputs.reshape(rows, heads, tokens, head)
