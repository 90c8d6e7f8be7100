"""Attention of new tokens over what is held in float16, compiled.

Owns the calls of `attention_decode.cpp`, for a few tokens, and of
`attention_prefill.cpp`, for more on processors that multiply bfloat16, and the proof
that they are right. Knows no weights and no cache. n are rows, t their new tokens;
H, KV and d as in `models.llama.weights`.
"""

from __future__ import annotations

import ctypes
import math
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.engine.backends.llama_cpu.kv_cache import KVAddress, KVAddresses

_FEW = 32  # new tokens of a row up to which each is looked at in float32
_NEAR = 1e-4  # of what is found, whose numbers are about 1
_MANY_NEAR = 0.02  # the same with products of bfloat16


class Attention:
    """What was compiled."""

    def __init__(self, file: Path, heads: int, kv_heads: int) -> None:
        """Open it.

        Raises:
            OSError: it is damaged.
        """
        self._heads, self._kv_heads = heads, kv_heads
        library = ctypes.CDLL(str(file))
        address, whole = ctypes.c_void_p, ctypes.c_long
        arguments: list[Any] = [address, address, whole, whole, whole]
        arguments += [address, whole, whole] * 2  # two places
        self._attend = library.attend
        self._attend.argtypes, self._attend.restype = [*arguments, address], None
        self._attend_many = getattr(library, "attend_many", None)
        if self._attend_many is not None:
            self._attend_many.argtypes, self._attend_many.restype = arguments, None

    def takes(self, tokens: int, mask: Tensor | None, *, rounds: bool) -> bool:
        """Whether it is the way for so many new tokens of a row; `rounds` allows
        products of many to be rounded to bfloat16."""
        many = rounds and mask is None and self._attend_many is not None
        return tokens <= _FEW or many

    def attend(
        self, heads: Tensor, places: KVAddresses, layer: int, mask: Tensor | None
    ) -> Tensor:
        """What the new tokens find in a layer, float32 [n, t, H, d]. Their keys and
        values are put down there.

        `heads` are their queries, keys and values, float32 [n, t, H + 2·KV, d]; each
        sees what was held before and, of the new ones, itself and those before it; or
        those that `mask`, float32 [t, t], gives a 0 and not -inf.
        """
        rows, tokens, _, head = heads.shape
        found = heads.new_empty(rows, tokens, self._heads, head)
        shared, own = places.shared, places.own
        arguments = (
            heads.data_ptr(),
            found.data_ptr(),
            rows,
            tokens,
            self._kv_heads,
            shared.address + layer * shared.layer,
            shared.room,
            shared.count,
            own.address + layer * own.layer,
            own.room,
            own.count,
        )
        if tokens > _FEW and mask is None and self._attend_many is not None:
            self._attend_many(*arguments)
        else:
            self._attend(*arguments, None if mask is None else mask.data_ptr())
        return found

    def require_right(self, head: int) -> None:
        """Compare it with the library's attention.

        Raises:
            ValueError: they differ.
        """
        random = torch.Generator().manual_seed(0)
        for rows, tokens, held in product((1, 2), (1, 3, _FEW + 8), (0, 5, 300)):
            sizes = rows, tokens, self._heads + 2 * self._kv_heads, head
            heads = torch.randn(sizes, generator=random)
            room = held + tokens + 1
            both = torch.randn(
                2, rows, 2 * self._kv_heads, room, head, generator=random
            ).half()
            shared, own = both[0, :1], both[1]
            places = KVAddresses(
                KVAddress.of(shared[None], held), KVAddress.of(own[None], held)
            )
            found = self.attend(heads, places, 0, None)
            new = heads[:, :, self._heads :].transpose(1, 2).half()
            seen = torch.cat(
                [
                    shared[:, :, :held].expand(rows, -1, -1, -1),
                    *(own[:, :, :held], new),
                ],
                2,
            )
            wanted = _plainly(heads[:, :, : self._heads].transpose(1, 2), seen.float())
            far = float((found.transpose(1, 2) - wanted).abs().max())
            if not far < (_NEAR if tokens <= _FEW else _MANY_NEAR):
                raise ValueError("it computes something else")


def _plainly(queries: Tensor, seen: Tensor) -> Tensor:
    """Attention of queries [n, H, t, d], each of which sees all keys and values
    [n, 2·KV, s, d] but those of the queries after it."""
    keys, values = seen.chunk(2, 1)
    tokens, held = queries.shape[2], keys.shape[2] - queries.shape[2]
    mask = torch.full((tokens, held + tokens), -math.inf).triu_(held + 1)
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, enable_gqa=True
    )
