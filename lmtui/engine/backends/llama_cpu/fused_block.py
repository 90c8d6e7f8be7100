"""Fused block: all operations between the attention of one layer and that of the next.

`FusedBlock` is the form that a compiler takes whole, `FusedBlockKernel` calls the
compiled C++; `decoder` does the same arithmetic, uncompiled. Runs no compiler. Shapes
are as in `models.llama.weights`; m are tokens.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmtui.kernels.gguf_matmul import BlockWeights
from lmtui.models.llama.gguf_blocks import FEW as FEW_BLOCKS
from lmtui.models.llama.gguf_blocks import BlockLinear
from lmtui.models.llama.int4 import GROUP, Int4Linear
from lmtui.models.llama.linear import Linear
from lmtui.models.llama.weights import DecoderLayer, LlamaConfig

CompiledBlock = Callable[[list[Tensor]], Sequence[Tensor]]
"""The function that `FusedBlock` computes, with the same inputs in a list."""

_HALF = torch.bfloat16


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """The fused block between two layers, with its weights."""

    run: Callable[[Tensor, Tensor, Tensor], Sequence[Tensor]]
    """Takes hidden states, attention output and rotary factors, as
    `FusedBlock.forward`, and returns the same."""
    most: int
    """Number of tokens up to which it is the fastest."""


@dataclass(frozen=True, slots=True)
class PackedShape:
    """Shape of one packed matrix."""

    rows: int
    columns: int
    bits: int
    rank: int
    """Rank of the LoRA added to its products; 0 for none."""

    @classmethod
    def of(cls, linear: Linear) -> PackedShape:
        """Return the shape of a packed matrix."""
        packed = _packed(linear)
        rank = len(packed.lora.first) if packed.lora is not None else 0
        return cls(packed.rows, packed.columns, packed.bits, rank)


@dataclass(frozen=True, slots=True)
class BlockShape:
    """Everything that a fused block's machine code depends on besides its inputs."""

    heads: int
    kv_heads: int
    head_dim: int
    epsilon: float
    o_proj: PackedShape
    gate_up: PackedShape
    down: PackedShape
    qkv: PackedShape
    has_bias: bool
    has_head_norms: bool

    @classmethod
    def of(
        cls, shape: LlamaConfig, layer: DecoderLayer, following: DecoderLayer
    ) -> BlockShape:
        """Return the shape of the block from `layer` to `following`, both packed."""
        return cls(
            heads=shape.heads,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            epsilon=shape.epsilon,
            o_proj=PackedShape.of(layer.o_proj),
            gate_up=PackedShape.of(layer.gate_up),
            down=PackedShape.of(layer.down),
            qkv=PackedShape.of(following.qkv),
            has_bias=following.bias is not None,
            has_head_norms=following.q_norm is not None,
        )

    @classmethod
    def read(cls, said: dict[str, Any]) -> BlockShape:
        """Rebuild a shape from what `dataclasses.asdict` made of it.

        Raises:
            TypeError: `said` is something else.
        """
        parts: dict[str, Any] = {
            name: PackedShape(**value) if isinstance(value, dict) else value
            for name, value in said.items()
        }
        return cls(**parts)

    def sizes(self) -> dict[str, float]:
        """The shape as the compile-time constants of `fused_block.cpp`."""
        named = {"OUT": self.o_proj, "GATE_UP": self.gate_up}
        named |= {"DOWN": self.down, "QKV": self.qkv}
        return {
            "WIDTH": self.o_proj.rows,
            "FFN": self.down.columns,
            "HEADS": self.heads,
            "KV_HEADS": self.kv_heads,
            "HEAD": self.head_dim,
            "EPSILON": self.epsilon,
            "HAS_BIAS": int(self.has_bias),
            "HAS_HEAD_NORMS": int(self.has_head_norms),
            **{f"{name}_BITS": matrix.bits for name, matrix in named.items()},
            **{f"{name}_RANK": matrix.rank for name, matrix in named.items()},
        }

    @property
    def matrices(self) -> tuple[PackedShape, ...]:
        """The four matrices in the order in which they are multiplied."""
        return self.o_proj, self.gate_up, self.down, self.qkv


def weights_of(
    layer: DecoderLayer, following: DecoderLayer, root: float
) -> list[Tensor]:
    """Return the weights of a fused block, in its order. The norms' weights are
    multiplied by `root`, √D, since `FusedBlock` divides by √D times the RMS."""
    tensors = [layer.ffn_norm * root, following.attention_norm * root]
    for linear in (layer.o_proj, layer.gate_up, layer.down, following.qkv):
        packed = _packed(linear)
        tensors += [packed.weights, packed.scales]
        if packed.lora is not None:
            tensors += [packed.lora.first, packed.lora.second]
    more = following.bias, following.q_norm, following.k_norm
    return [*tensors, *(tensor for tensor in more if tensor is not None)]


def gguf_layer(
    shape: LlamaConfig, layer: DecoderLayer, following: DecoderLayer, root: float
) -> FusedLayer | None:
    """Return the fused block of matrices in the blocks of a GGUF file; None for other
    matrices."""
    linears = layer.o_proj, layer.gate_up, layer.down, following.qkv
    blocks = [linear for linear in linears if isinstance(linear, BlockLinear)]
    if len(blocks) < len(linears):
        return None
    weights = BlockWeights(
        *(shape.heads, shape.kv_heads, shape.head_dim, shape.epsilon),
        *(layer.ffn_norm * root, following.attention_norm * root),
        *(following.bias, following.q_norm, following.k_norm),
        *(linear.matrix for linear in blocks),
    )
    return FusedLayer(partial(blocks[0].kernel.block, weights), FEW_BLOCKS)


def _packed(linear: Linear) -> Int4Linear:
    assert isinstance(linear, Int4Linear)
    return linear


def examples(plan: BlockShape, tokens: int) -> list[Tensor]:
    """Random inputs of the right shapes for `tokens` tokens."""
    width, half = plan.o_proj.rows, plan.head_dim // 2
    turns = torch.randn(tokens, 1, half)
    return [
        torch.randn(tokens, width),
        torch.randn(tokens, plan.heads * plan.head_dim),
        torch.stack([turns.cos(), turns.sin()], -1),
        torch.rand(width),
        torch.rand(width),
        *(tensor for matrix in plan.matrices for tensor in _random(matrix)),
        *([torch.rand(plan.qkv.rows)] if plan.has_bias else []),
        *([torch.rand(plan.head_dim) for _ in "qk"] if plan.has_head_norms else []),
    ]


def _random(matrix: PackedShape) -> Iterator[Tensor]:
    columns = matrix.columns * (2 if matrix.bits == 8 else 1)
    yield torch.randint(0, 256, (matrix.rows, columns // 2), dtype=torch.uint8)
    scale = torch.rand(columns // GROUP, matrix.rows, 2) / math.sqrt(64 * columns)
    yield scale.bfloat16()
    if matrix.rank:
        yield torch.randn(matrix.rank, matrix.columns) / math.sqrt(matrix.columns)
        yield torch.randn(matrix.rows, matrix.rank) / math.sqrt(matrix.rank)


class FusedBlock(nn.Module):
    """Output projection, feed-forward, and the next layer's q/k/v projection with
    RoPE."""

    def __init__(self, plan: BlockShape) -> None:
        super().__init__()
        self._plan = plan
        self._added = plan.epsilon * plan.o_proj.rows

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state [m, D] after a layer, and queries, keys and values [m, H +
        2·KV, d] of the next layer.

        `inputs` are the state before, the attention output [m, H·d], the rotary factors
        (cos, sin) [m, 1, d/2, 2], then the weights in the order of `weights_of`. All
        are float32, except packed weights.
        """
        state, found, turns, feed_norm, attention_norm, *rest = inputs
        weights = iter(rest)
        plan = self._plan
        # 1) output projection of attention
        state = state + self._times(found, plan.o_proj, weights)
        # 2) feed-forward: RMSNorm, SwiGLU
        normed = state / self._norm(state) * feed_norm
        gate, up = self._times(normed, plan.gate_up, weights).chunk(2, 1)
        state = state + self._times(F.silu(gate) * up, plan.down, weights)
        # 3) q/k/v projection of the next layer, divided by its RMSNorm afterwards
        product = self._times(state * attention_norm, plan.qkv, weights)
        product = product / self._norm(state)
        if plan.has_bias:
            product = product + next(weights)
        # 4) head norms and RoPE
        heads = product.view(-1, plan.heads + 2 * plan.kv_heads, plan.head_dim)
        return state, self._turned(heads, turns, weights)

    def _norm(self, state: Tensor) -> Tensor:
        """Divisor of an RMSNorm of the state, times √D: [m, 1]."""
        return (state.square().sum(-1, keepdim=True) + self._added).sqrt()

    def _times(
        self, inputs: Tensor, matrix: PackedShape, weights: Iterator[Tensor]
    ) -> Tensor:
        packed, scales = next(weights), next(weights)
        half = inputs.to(_HALF)
        if matrix.bits == 8:
            half = torch.cat([half, half], 1)
        product: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu.default(
            half, packed, GROUP, scales
        )
        if not matrix.rank:
            return product.float()
        first, second = next(weights), next(weights)
        # The LoRA's input is rounded to bfloat16 as in the uncompiled code.
        beside = F.linear(F.linear(half[:, : matrix.columns].float(), first), second)
        return product.float() + beside

    def _turned(self, heads: Tensor, rope: Tensor, weights: Iterator[Tensor]) -> Tensor:
        """Apply head norms and RoPE to queries and keys: [m, H + 2·KV, d]."""
        plan = self._plan
        keys = plan.heads + plan.kv_heads
        queries, others = heads[:, : plan.heads], heads[:, plan.heads : keys]
        if plan.has_head_norms:
            queries = self._head_normed(queries) * next(weights)
            others = self._head_normed(others) * next(weights)
        pairs = torch.cat([queries, others], 1).view(-1, keys, plan.head_dim // 2, 2)
        real, imaginary = pairs[..., 0], pairs[..., 1]
        cos, sin = rope[..., 0], rope[..., 1]
        turned = torch.stack(
            [real * cos - imaginary * sin, real * sin + imaginary * cos], -1
        )
        return torch.cat([turned.flatten(2), heads[:, keys:]], 1)

    def _head_normed(self, heads: Tensor) -> Tensor:
        square = heads.square().mean(-1, keepdim=True)
        return heads * (square + self._plan.epsilon).rsqrt()


class FusedBlockKernel:
    """The fused block compiled from C++; called like `FusedBlock`, with inputs in a
    list."""

    def __init__(self, file: Path, plan: BlockShape) -> None:
        """Load the shared library `file`.

        Raises:
            OSError, ValueError: the file is damaged.
        """
        self._heads = plan.heads + 2 * plan.kv_heads, plan.head_dim
        try:
            self._cross = ctypes.CDLL(str(file)).fused_block
        except AttributeError as error:
            raise ValueError(str(error)) from error
        self._cross.restype = None
        self._cross.argtypes = [ctypes.c_void_p, ctypes.c_long]

    def __call__(self, inputs: list[Tensor]) -> Sequence[Tensor]:
        """Compute what `FusedBlock.forward` computes."""
        given = [tensor.contiguous() for tensor in inputs]
        state = given[0]
        made = state.new_empty(state.shape), state.new_empty(len(state), *self._heads)
        addresses = [tensor.data_ptr() for tensor in (*given, *made)]
        self._cross((ctypes.c_void_p * len(addresses))(*addresses), len(state))
        return made
