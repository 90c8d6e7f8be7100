"""Fused block: all operations between the attention of one layer and that of the next.

One call of the compiled code. `decoder` does the same arithmetic in single operations.
Shapes are as in `models.llama.weights`; m are tokens.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from torch import Tensor

from lmtui.kernels.gguf_matmul import Block, GgufMatmulKernel, address_of
from lmtui.models.llama.weights import DecoderLayer, LlamaConfig


@dataclass(frozen=True, slots=True)
class FusedLayer:
    """The fused block between two layers."""

    block: Block
    layers: tuple[DecoderLayer, DecoderLayer]
    """Those whose tensors the block has."""
    kernel: GgufMatmulKernel
    few: int
    """The number of tokens up to which its products are those of a few inputs."""
    runs_many: bool
    """Whether it runs more than that."""

    @classmethod
    def of(
        cls,
        shape: LlamaConfig,
        layer: DecoderLayer,
        following: DecoderLayer,
        index: int,
        place: int,
    ) -> FusedLayer:
        """Return the fused block; `index` is that of the layer, `place` its place among
        those with a cache of its kind."""
        linears = layer.o_proj, layer.gate_up, layer.down, following.qkv
        vectors = (
            *(layer.ffn_norm, following.attention_norm),
            *(layer.attention_post_norm, layer.ffn_post_norm),
            *(following.bias, following.q_norm, following.k_norm),
            *(following.v_norm, layer.input_norm),
        )
        own = layer.recurrent
        recurrent = None if own is None else ctypes.addressof(own.compiled)
        more = layer.input_gate, layer.input_proj
        matrices = *linears, *(each for each in more if each is not None)
        block = Block(
            *(shape.width, shape.ffn[index]),
            *(shape.heads[index], shape.heads[(index + 1) % shape.layers]),
            *(shape.head_dims[-1], shape.epsilon),
            *(shape.residual_scale, shape.is_gelu, shape.norms_all_heads),
            place,
            *(following.q_rope, following.k_rope),
            *map(address_of, vectors),
            *(recurrent, layer.scale),
            *(linear.matrix.compiled for linear in matrices),
        )
        many = all(each.uses_gemm and not each.matrix.lora for each in matrices)
        few = min(each.few for each in matrices)
        return cls(block, (layer, following), linears[0].kernel, few, many)

    def takes(self, tokens: int) -> bool:
        """Return whether it runs so many tokens at once."""
        return tokens <= self.few or self.runs_many

    def run(
        self, hidden: Tensor, attended: Tensor, rope: Tensor, inputs: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the hidden states [m, D] after the layer, and what the next one makes
        of them before it mixes tokens [m, N], given the states before, the attention
        output [m, H·d], the rotary factors (cos, sin) [tables, m, 1, R/2, 2] and the
        layer's further inputs, if there are any, [m, their width]. All are float32;
        `few` tokens or less give the same bits in any split."""
        gemm = len(hidden) > self.few
        return self.kernel.block(self.block, hidden, attended, rope, inputs, gemm=gemm)
