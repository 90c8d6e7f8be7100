"""Compiled attention of new tokens over a float16 KV cache.

Calls `attention_decode.cpp` for a few tokens and `attention_prefill.cpp` for more, on
processors with AVX2, or with AVX-512 that multiplies bfloat16. Knows no weights. n are
rows, t the new tokens of each; H, KV, G, d and R as in `models.llama.weights`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.engine.backends.llama_cpu.kv_cache import KVAddresses
from lmtui.kernels.gguf_matmul import UNLIMITED, Heads, KVAddress
from lmtui.kernels.library import ADDRESS, WHOLE, bound, bound_if_there

_FEW = 32  # new tokens of a row up to which the float32 decode kernel runs
_NEAR = 1e-4  # largest absolute error allowed; outputs are about 1
_ROUNDED_NEAR = 0.02  # the same where products are rounded to bfloat16


class Attention:
    """The compiled attention kernels of one model: one for decode, one for prefill."""

    def __init__(self, library: ctypes.CDLL, heads: Iterable[Heads]) -> None:
        """`heads` are those of layers."""
        own = (each for each in heads if each.query and not each.borrows)
        self._by_width = {each.width: Heads.from_buffer_copy(each) for each in own}
        library.attends_width.restype = ctypes.c_bool
        self.is_compiled = all(map(library.attends_width, map(WHOLE, self._by_width)))
        """Whether the library has attention for heads of these widths."""
        arguments = *[ADDRESS] * 2, *[WHOLE] * 2, *[ADDRESS] * 3, WHOLE
        self._attend = bound(library, "attend", *arguments, ADDRESS)
        self._attend_many = bound_if_there(library, "attend_many", *arguments)
        self._rounds = False
        if self._attend_many is not None:
            library.attend_many_rounds.restype = ctypes.c_bool
            self._rounds = library.attend_many_rounds()

    def takes(self, tokens: int, mask: Tensor | None, *, rounds: bool) -> bool:
        """Return whether the kernels handle `tokens` new tokens of a row; `rounds`
        allows the products of many tokens to be rounded to bfloat16."""
        if tokens <= _FEW:
            return True
        allowed = rounds or not self._rounds
        return allowed and mask is None and self._attend_many is not None

    def attend(
        self,
        heads: Heads,
        projected: Tensor,
        addresses: KVAddresses,
        layer: int,
        mask: Tensor | None,
    ) -> Tensor:
        """Return the attention output of the new tokens in a layer, float32 [n, t, H,
        d], and write their keys and values to the cache.

        `projected` are their queries, keys and values, if the layer has its own, and
        gates, if outputs have some: float32 [n, t, H + 2·KV + G, d]. Each token attends
        to the whole cache and, of the new tokens, to itself and those before it; or to
        those for which `mask`, float32 [t, t], is 0 and not -inf; of all these to those
        in the layer's window.
        """
        rows, tokens, _, head = projected.shape
        outputs = projected.new_empty(rows, tokens, heads.query, head)
        structures = heads, addresses.shared, addresses.own
        arguments = (
            *(projected.data_ptr(), outputs.data_ptr(), rows, tokens),
            *(*map(ctypes.byref, structures), layer),
        )
        if tokens > _FEW and mask is None and self._attend_many is not None:
            self._attend_many(*arguments)
        else:
            self._attend(*arguments, None if mask is None else mask.data_ptr())
        return outputs

    def require_right(self) -> None:
        """Compare the kernels with torch's attention on random inputs.

        Raises:
            ValueError: the results differ.
        """
        random = torch.Generator().manual_seed(0)
        sizes = product((1, 2), (1, 3, _FEW + 8), (0, 5, 300))
        for heads, (rows, tokens, cache) in product(self._by_width.values(), sizes):
            heads.window = UNLIMITED if rows == 1 else 270
            end = heads.all - heads.gates
            projected = torch.randn(
                rows, tokens, heads.all, heads.width, generator=random
            )
            room = cache + tokens + 1
            both = torch.randn(
                2, rows, 2 * heads.kv, room, heads.width, generator=random
            ).half()
            shared, own = both[0, :1], both[1]
            addresses = KVAddresses(
                KVAddress.of(shared[None], cache), KVAddress.of(own[None], cache)
            )
            outputs = self.attend(heads, projected, addresses, 0, None)
            new = projected[:, :, heads.query : end].transpose(1, 2).half()
            seen = torch.cat(
                [
                    shared[:, :, :cache].expand(rows, -1, -1, -1),
                    *(own[:, :, :cache], new),
                ],
                2,
            )
            wanted = _reference_attention(
                projected[:, :, : heads.query].transpose(1, 2),
                seen.float(),
                heads.window,
            ).transpose(1, 2)
            if heads.gates:
                wanted = wanted * projected[:, :, end:].sigmoid()
            far = float((outputs - wanted).abs().max())
            rounds = tokens > _FEW and self._rounds
            if not far < (_ROUNDED_NEAR if rounds else _NEAR):
                raise ValueError("its result differs from the reference")


def _reference_attention(queries: Tensor, seen: Tensor, window: int) -> Tensor:
    """Compute attention with torch. Queries [n, H, t, d] belong to the last t of the
    keys and values [n, 2·KV, s, d]; each attends to the last `window` of those that are
    not of later queries."""
    keys, values = seen.chunk(2, 1)
    tokens, cache = queries.shape[2], keys.shape[2] - queries.shape[2]
    mask = torch.full((tokens, cache + tokens), -math.inf).triu_(cache + 1)
    mask += torch.full_like(mask, -math.inf).tril_(cache - window)
    return F.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask, enable_gqa=True
    )
