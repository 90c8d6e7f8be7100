"""The layers of a Llama-shaped model, in as few operations as can be.

Owns the arithmetic from token ids to the states that the head reads. A norm is not
divided by before a product but after it, where there is less to divide; the turn of
queries and keys is one product of complex numbers. What is held in memory between two
layers is float32, what is multiplied with packed weights is bfloat16.

RMSNorm: Zhang & Sennrich 2019; rotations: Su et al. 2021; SwiGLU: Shazeer 2020.
Shapes are as in `models.lean`; n are rows, t their new tokens, m = n·t.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui.engine.fast.slabs import Sizes, Slabs
from lmtui.models.lean import Layer, LeanWeights
from lmtui.models.packing import Packed


class Steps:
    """Runs tokens through the layers."""

    def __init__(self, weights: LeanWeights) -> None:
        self._weights = weights
        shape = self._shape = weights.shape
        self.sizes = Sizes(shape.layers, shape.kv_heads, shape.head)
        self._root = math.sqrt(shape.width)
        self._norms = [
            (layer.attention_norm * self._root, layer.feed_norm * self._root)
            for layer in weights.layers
        ]
        self._last_norm = weights.norm * self._root
        self._turns = torch.empty(0, shape.head // 2, dtype=torch.complex64)

    def states(
        self,
        ids: Tensor,
        held: Slabs,
        *,
        keep: Tensor | None = None,
        depths: Tensor | None = None,
        mask: Tensor | None = None,
        between: Callable[[], None],
    ) -> Tensor:
        """What the head reads, after each of the tokens, or after those that `keep`
        picks out of all m: float32 [m, D].

        `ids` are [n, t] and continue what is held; `depths` [t] and `mask` [t, t] are
        their places behind it and what they see of each other, where they are not a
        text. `between` is called before each layer; what it raises leaves `held` as
        it was.
        """
        rows, tokens = ids.shape
        turns = self._turned(held.length, tokens, depths)
        if rows > 1 and tokens > 1:
            turns = turns.repeat(rows, 1, 1)  # [m, 1, d/2]
        # A column more, whose square is what a norm adds to be never 0.
        wide = torch.empty(rows * tokens, self._shape.width + 1)
        wide[:, -1] = math.sqrt(self._shape.epsilon * self._shape.width)
        state = wide[:, :-1]
        state.copy_(self._weights.embedding[ids.flatten()])
        held.extend(tokens)
        for index, layer in enumerate(self._weights.layers):
            between()
            heads = self._heads(index, layer, wide, turns)
            # [n, H + 2·KV, t, d]
            parts = heads.view(rows, tokens, *heads.shape[1:]).transpose(1, 2)
            held.write(index, parts[:, self._shape.heads :])
            found = held.attend(index, parts[:, : self._shape.heads], mask)
            state += _times(layer.out, found.transpose(1, 2).flatten(0, 1).flatten(1))
            state += self._fed(index, layer, wide)
        held.added(tokens)
        if keep is not None:
            wide = wide[keep]
        return wide[:, :-1] * self._last_norm / _norm(wide)

    def _heads(self, index: int, layer: Layer, wide: Tensor, turns: Tensor) -> Tensor:
        """Queries, keys and values of the tokens: [m, H + 2·KV, d]."""
        shape = self._shape
        product = _times(layer.qkv, wide[:, :-1] * self._norms[index][0])
        qkv = product / _norm(wide)  # float32 [m, (H + 2·KV)·d]
        if layer.bias is not None:
            qkv += layer.bias
        heads = qkv.view(len(qkv), -1, shape.head)
        turned = heads[:, : shape.heads + shape.kv_heads]
        if layer.q_norm is not None and layer.k_norm is not None:
            self._normed(turned[:, : shape.heads], layer.q_norm)
            self._normed(turned[:, shape.heads :], layer.k_norm)
        pairs = turned.view(*turned.shape[:2], -1, 2)
        torch.view_as_complex(pairs).mul_(turns)
        return heads

    def _normed(self, heads: Tensor, weight: Tensor) -> None:
        """Normalise each head by itself, in place."""
        square = heads.square().mean(-1, keepdim=True)
        heads.mul_((square + self._shape.epsilon).rsqrt_()).mul_(weight)

    def _fed(self, index: int, layer: Layer, wide: Tensor) -> Tensor:
        """What the second half of a layer adds to the state: [m, D]."""
        normed = (wide[:, :-1] * self._norms[index][1]).div_(_norm(wide))
        gate, up = _times(layer.gate_up, normed).chunk(2, 1)
        return _times(layer.down, F.silu(gate).mul_(up))

    def _turned(self, start: int, tokens: int, depths: Tensor | None) -> Tensor:
        """The turns of some places: complex64 [t, 1, d/2]."""
        end = start + tokens
        if end > len(self._turns):
            places = torch.arange(max(end, 2 * len(self._turns))).float()
            angles = torch.outer(places, self._weights.frequencies)
            self._turns = torch.polar(torch.ones_like(angles), angles)
        if depths is not None:
            return self._turns[depths + start].unsqueeze(1)
        return self._turns[start:end].unsqueeze(1)


def _times(weights: Packed, inputs: Tensor) -> Tensor:
    return weights.times(inputs.bfloat16())


def _norm(wide: Tensor) -> Tensor:
    """[m, 1]."""
    norms: Tensor = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return norms
