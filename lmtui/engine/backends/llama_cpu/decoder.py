"""Decoder layers of a Llama-shaped model on a CPU, from token ids to final states.

RMSNorm: Zhang & Sennrich 2019; rotary embedding: Su et al. 2021; SwiGLU: Shazeer 2020.
Shapes are as in `models.llama.weights`; n are rows, t their new tokens, m = n·t.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from lmtui import cancellation
from lmtui.engine.backend import no_such_token
from lmtui.engine.backends.llama_cpu.attention import Attention
from lmtui.engine.backends.llama_cpu.fused_block import FusedLayer
from lmtui.engine.backends.llama_cpu.kv_cache import PreallocatedKVCache, Sizes
from lmtui.kernels.gguf_matmul import GgufMatmulKernel, Heads
from lmtui.models.llama.linear import FEW
from lmtui.models.llama.weights import DecoderLayer, LlamaConfig, LlamaWeights


class DecoderLayers:
    """Runs tokens through all layers, with as few operations as possible.

    - Before attention, the RMSNorm's divisor is applied after the product with the
      weights, where fewer numbers have to be divided.
    - Rotary embedding of queries and keys is one product of complex numbers.
    - For a few tokens, compiled attention and the compiled fused block (see `attention`
      and `fused_block`) replace the single operations.
    """

    def __init__(
        self, weights: LlamaWeights, attention: Attention | None = None
    ) -> None:
        """`attention` is the compiled one, if any."""
        self.weights = weights
        self.attention = attention
        shape = self.shape = weights.shape
        layers = weights.layers
        self._places, attending = _places(shape)
        widest, keys = shape.head_dims[-1], max(heads.kv for heads in shape.heads)
        states = sum(each.recurrent.state_size for each in layers if each.recurrent)
        self.sizes = Sizes(attending, keys, widest, states)
        own = [index for index, heads in enumerate(shape.heads) if not heads.borrows]
        self._borrowing = max(own, default=0) + 1
        self._last_norm = weights.norm * math.sqrt(shape.width)
        # cos + i·sin of each position's angles, of each table; grows with the longest
        # context
        self._rotary = torch.empty(1, 0, widest // 2, dtype=torch.complex64)
        # The head follows the last layer, so its block makes queries, keys and values
        # that nothing reads. That still costs less than single operations.
        pairs = pairwise([*layers, layers[0]])
        self._fused = [
            FusedLayer.of(shape, *pair, index, self._places[index])
            for index, pair in enumerate(pairs)
        ]
        self._blocks = [layer.block for layer in self._fused]
        # what runs a few tokens through all layers in one call, if anything does
        self._layers_kernel = self._fused[0].kernel if attention else None

    def hidden_states(
        self,
        ids: Tensor,
        cache: PreallocatedKVCache,
        *,
        keep: Tensor | None = None,
        depths: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Run tokens through all layers; return the normalised states after them.

        `ids` are [n, t] and continue `cache`. The result is float32 [m, D], or [k, D]
        where `keep` gives k indices, of a single row the last ones. For a token tree,
        `depths` [t] are the positions counted from the end of the cache, and `mask` [t,
        t] is 0 where the row's token attends to the column's, else -inf. If it is
        cancelled, `cache` is as before.
        """
        kernel = self._layers_kernel
        if kernel is not None and ids.numel() <= FEW:
            states = self._run_compiled_layers(
                kernel, ids, cache, depths=depths, mask=mask
            )
            return states if keep is None else states[keep]
        last = None if keep is None or len(ids) > 1 else len(keep)
        *_, run = self._layer_passes(ids, cache, depths=depths, mask=mask, last=last)
        return self._apply_norm(run, keep if run.m == ids.numel() else None)

    def _run_compiled_layers(
        self,
        kernel: GgufMatmulKernel,
        ids: Tensor,
        cache: PreallocatedKVCache,
        *,
        depths: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Run a few tokens like `hidden_states`, in calls of compiled code."""
        rows, tokens = ids.shape
        # 1) rotary embedding of the new positions: cosines and sines of each table
        # [tables, m, 1, R/2, 2]
        rope = torch.view_as_real(self._rotary_factors(cache.length, tokens, depths))
        if rows > 1:
            rope = rope.repeat(1, rows, 1, 1, 1)
        # 2) token embedding [m, D], and where their keys and values will stand
        states = self._embed(ids)
        caches = cache.reserve_addresses(tokens)
        # 3) all layers and the last RMSNorm, in place
        kernel.run_layers(
            *(self._blocks, self._last_norm, states),
            rows=rows,
            rope=rope,
            inputs=self._layer_inputs(ids, states),
            shared=caches.shared,
            own=caches.own,
            states=cache.states,
            mask=mask,
        )
        cache.commit(tokens)
        return states

    def layer_states(
        self,
        ids: Tensor,
        cache: PreallocatedKVCache,
        *,
        keep: Tensor,
    ) -> Iterator[Tensor]:
        """Run tokens like `hidden_states`; yield the normalised states [k, D] of `keep`
        before the first layer and after each."""
        for run in self._layer_passes(ids, cache):
            yield self._apply_norm(run, keep)

    def _layer_passes(
        self,
        ids: Tensor,
        cache: PreallocatedKVCache,
        *,
        depths: Tensor | None = None,
        mask: Tensor | None = None,
        last: int | None = None,
    ) -> Iterator[ForwardPass]:
        """Yield the tokens' pass before the first layer and after each; the arguments
        are those of `hidden_states`. With `last`, only so many tokens of a row run
        through layers from which on all borrow their keys and values."""
        rows, tokens = ids.shape
        # 1) rotary embedding of the new positions
        rotary = self._rotary_factors(cache.length, tokens, depths)
        if rows > 1:  # the fused block reads those of each token
            rotary = rotary.repeat(1, rows, 1, 1)  # [tables, m, 1, R/2]
        # 2) token embedding, and queries, keys and values of the first layer
        embedded = self._embed(ids)
        inputs = self._layer_inputs(ids, embedded)
        run = ForwardPass(self.shape, rows, tokens, rotary, inputs)
        run.state.copy_(embedded)
        yield run
        self._project_qkv(run, 0)
        # 3) per layer: attention, then all that lies before the next attention
        attend = self.attention_fn(run, cache, mask)
        for index in range(self.shape.layers):
            if index == self._borrowing and last is not None and last < tokens:
                # Their keys and values are there; no check may come between.
                cache.commit(tokens - last)
                run, tokens = run.end(last), last
                attend = self.attention_fn(run, cache, mask)
                self._project_qkv(run, index)
            elif run.tokens == ids.shape[1]:
                cancellation.check()
            self._run_fused_block(run, index, attend(index))
            if index + 1 == self.shape.layers:
                cache.commit(tokens)
            yield run

    def _embed(self, ids: Tensor) -> Tensor:
        """Return the embeddings [m, D] of tokens [n, t]."""
        try:
            return self.weights.embedding[ids.flatten()] * self.shape.embedding_scale
        except IndexError as error:
            raise no_such_token(int(ids.max())) from error

    def _layer_inputs(self, ids: Tensor, embedded: Tensor) -> Tensor | None:
        """Return the further inputs of all layers, float32 [layers, m, their width], if
        there are any, for tokens [n, t] and their embeddings [m, D]."""
        if (made_by := self.weights.inputs) is None:
            return None
        layers, width = self.shape.layers, self.shape.inputs
        of_tokens = made_by.table[ids.flatten()] * math.sqrt(width)
        projected = made_by.projection.times(embedded) / math.sqrt(self.shape.width)
        heads = projected.view(-1, layers, width)
        normed = F.rms_norm(heads, (width,), made_by.norm, self.shape.epsilon)
        both = (normed + of_tokens.view_as(normed)) * math.sqrt(0.5)
        return both.transpose(0, 1).contiguous()

    def _apply_norm(self, run: ForwardPass, keep: Tensor | None) -> Tensor:
        """Return the states [m, D] after the final RMSNorm, or [k, D] of `keep`."""
        run.settle()
        states = run.state / run.norm() * self._last_norm
        return states if keep is None else states[keep]

    def attention_fn(
        self, run: ForwardPass, cache: PreallocatedKVCache, mask: Tensor | None
    ) -> Callable[[int], Tensor]:
        """Return a function from a layer's index to its attention output, or what it
        has in its place: [m, H·d] once reshaped."""
        attention, layers = self.attention, self.weights.layers
        rounds = layers[0].qkv.rounds
        if attention is not None and attention.takes(run.tokens, mask, rounds=rounds):
            positions = cache.reserve_addresses(run.tokens)

            def attend(heads: Heads, place: int) -> Tensor:
                projected = run.heads(heads)
                return attention.attend(heads, projected, positions, place, mask)

        else:
            dtype = torch.float16 if attention else torch.float32
            opened = cache.reserve(run.tokens, dtype)

            def attend(heads: Heads, place: int) -> Tensor:
                projected = run.heads(heads).transpose(1, 2)
                end = heads.all - heads.gates
                queries = projected[:, : heads.query]
                if not heads.borrows:
                    opened.write(place, projected[:, heads.query : end])
                attended = opened.attend(place, queries, mask, heads.window)
                if heads.gates:
                    attended = attended * projected[:, end:].sigmoid()
                return attended.transpose(1, 2)

        def mix(index: int) -> Tensor:
            layer, place = layers[index], self._places[index]
            if (recurrent := layer.recurrent) is None:
                return attend(self.shape.heads[index], place)
            first = place * recurrent.state_size
            states = cache.states[:, first : first + recurrent.state_size]
            mixed = run.state.new_empty(run.m, layer.o_proj.columns)
            layer.qkv.kernel.mix(recurrent, run.projected, states, mixed)
            return mixed

        return mix

    def _run_fused_block(self, run: ForwardPass, index: int, attended: Tensor) -> None:
        """Run a layer from its attention output `attended` to the next layer's queries,
        keys and values: output projection, feed-forward, and q/k/v projection."""
        attended = attended.reshape(run.m, -1)
        fused = self._fused[index]
        if fused.takes(run.m):
            run.run_fused_block(fused, attended, index)
            return
        run.settle()
        layer = self.weights.layers[index]
        run.add(layer.o_proj.times(attended), layer.attention_post_norm)
        feed = run.normed(layer.ffn_norm)
        gate, up = layer.gate_up.times(feed).chunk(2, 1)
        run.add(layer.down.times(self._activated(gate).mul_(up)), layer.ffn_post_norm)
        if layer.input_gate and layer.input_proj and run.inputs is not None:
            gates = self._activated(layer.input_gate.times(run.state.contiguous()))
            added = layer.input_proj.times(gates.mul_(run.inputs[index]))
            run.add(added, layer.input_norm)
        if layer.scale != 1:
            run.state *= layer.scale
        if index + 1 < self.shape.layers:
            self._project_qkv(run, index + 1)

    def _activated(self, gate: Tensor) -> Tensor:
        """Return gates after their activation."""
        return F.gelu(gate, approximate="tanh") if self.shape.is_gelu else F.silu(gate)

    def _project_qkv(self, run: ForwardPass, index: int) -> None:
        """Compute queries, keys and values of a layer from the state."""
        layer = self.weights.layers[index]
        product = layer.qkv.times(run.scaled(layer.attention_norm))
        run.project_qkv(product, layer, self.shape.heads[index])

    def _rotary_factors(self, start: int, tokens: int, depths: Tensor | None) -> Tensor:
        """Rotary factors cos + i·sin of the new positions, of each table: complex64
        [tables, t, 1, R/2]."""
        end, known = start + tokens, self._rotary.shape[1]
        if end > known:
            positions = torch.arange(max(end, 2 * known)).float()
            angles = positions[:, None] * self.weights.frequencies[:, None]
            scale, growth, context = self.weights.rope_scales.T[:, :, None, None]
            steps = torch.log1p((positions[:, None] / context).floor())
            sizes = scale * (1 + growth * steps)  # [tables, P, 1]
            self._rotary = torch.polar(sizes.expand_as(angles), angles)
        if depths is not None:
            return self._rotary[:, depths + start].unsqueeze(2)
        return self._rotary[:, start:end].unsqueeze(2).contiguous()


class ForwardPass:
    """State and work buffers of m tokens on their way through the layers.

    All views on the buffers are made once, since making a view takes as long as a small
    product.
    """

    def __init__(
        self,
        shape: LlamaConfig,
        rows: int,
        tokens: int,
        rope: Tensor,
        inputs: Tensor | None,
    ) -> None:
        """`rope` are rotary factors of each table, complex64 [tables, m, 1, R/2];
        `inputs` the further ones of layers, if there are any [layers, m, width]."""
        self.m = m = rows * tokens
        self.tokens = tokens
        self.inputs = inputs
        self._rotary = rope
        self._rope = torch.view_as_real(rope)  # [tables, m, 1, R/2, 2]
        self._shape = shape
        # One more column, whose square is ε·D: the vector norm then includes ε.
        self._wide = torch.empty(m, shape.width + 1)
        self._wide[:, -1] = math.sqrt(shape.epsilon * shape.width)
        self.state = self._wide[:, :-1]
        """float32 [m, D]; the layers add to it in place."""
        self._inputs = torch.empty(m, shape.width)  # of a product
        self.projected: Tensor = self.state
        """[m, N]: what the layer that was projected last made of its inputs before it
        mixes tokens."""
        # The state where the fused block made it; None where it is in the buffer above.
        self._fused_state: Tensor | None = None

    def end(self, tokens: int) -> ForwardPass:
        """Return the pass of the last tokens of a single row alone."""
        self.settle()
        inputs = None if self.inputs is None else self.inputs[:, -tokens:].contiguous()
        rope = self._rotary[:, -tokens:]
        run = ForwardPass(self._shape, 1, tokens, rope, inputs)
        run.state.copy_(self.state[-tokens:])
        return run

    def heads(self, heads: Heads) -> Tensor:
        """Return `projected` of a layer that attends: queries, keys, values and gates
        [n, t, H + 2·KV + G, d]."""
        return self.projected.view(-1, self.tokens, heads.all, heads.width)

    def settle(self) -> None:
        """Copy the fused block's last state into the buffer."""
        if self._fused_state is not None:
            self.state.copy_(self._fused_state)
            self._fused_state = None

    def norm(self) -> Tensor:
        """Divisor of an RMSNorm of the state, times √D: float32 [m, 1]."""
        norms: Tensor = torch.linalg.vector_norm(self._wide, dim=-1, keepdim=True)
        return norms

    def scaled(self, weight: Tensor | None) -> Tensor:
        """State times a norm's weight, not yet divided by the norm: [m, D]. Without a
        norm, as it is."""
        if weight is None:
            return self._inputs.copy_(self.state)
        return torch.mul(self.state, weight, out=self._inputs)

    def normed(self, weight: Tensor | None) -> Tensor:
        """State after an RMSNorm, if there is one: [m, D]."""
        if weight is None:
            return self._inputs.copy_(self.state)
        torch.div(self.state, self.norm(), out=self._inputs)
        return self._inputs.mul_(weight)

    def add(self, output: Tensor, weight: Tensor | None) -> None:
        """Add what attention or FFN gave, [m, D], to the state, after an RMSNorm if
        there is one."""
        if weight is not None:
            square = output.square().sum(-1, keepdim=True)
            square += self._shape.epsilon * self._shape.width
            output = output / square.sqrt_() * weight
        self.state.add_(output, alpha=self._shape.residual_scale)

    def project_qkv(self, product: Tensor, layer: DecoderLayer, heads: Heads) -> None:
        """Compute queries, keys and values from `product`, the projected scaled state
        [m, N]: divide by the norm; where the layer attends, add the bias, normalise
        heads, apply RoPE."""
        norm = 1.0 if layer.attention_norm is None else self.norm()
        self.projected = product.div_(norm)
        if layer.recurrent is not None:
            return
        if layer.bias is not None:
            self.projected += layer.bias
        every = self.projected.view(self.m, heads.all, heads.width)
        sizes = [heads.query, *[heads.own_kv] * 2, heads.gates]
        queries, keys, values, _ = torch.split(every, sizes, 1)
        of_heads = (
            (queries, layer.q_norm, layer.q_rope),
            (keys, layer.k_norm, layer.k_rope),
        )
        for each, norm_weight, table in of_heads:
            if norm_weight is not None:
                self._apply_norm(each, norm_weight)
            pairs = torch.view_as_complex(
                each.view(*each.shape[:-1], heads.width // 2, 2)
            )
            pairs.mul_(self._rotary[table, ..., : heads.width // 2])
        if layer.v_norm is not None:
            self._apply_norm(values, layer.v_norm)

    def run_fused_block(self, fused: FusedLayer, attended: Tensor, index: int) -> None:
        """Run a fused block: from a layer's attention output `attended` [m, H·d] to the
        next layer's queries, keys and values."""
        before = self._fused_state
        state = self.state.contiguous() if before is None else before
        inputs = None if self.inputs is None else self.inputs[index]
        self._fused_state, self.projected = fused.run(
            state, attended, self._rope, inputs
        )

    def _apply_norm(self, heads: Tensor, weight: Tensor) -> None:
        """Apply RMSNorm to each head [m, H, d] by itself, or to all, in place."""
        every = [-2, -1] if self._shape.norms_all_heads else [-1]
        square = heads.square().mean(every, keepdim=True)
        heads.mul_((square + self._shape.epsilon).rsqrt_())
        heads.mul_(weight.view(-1, heads.shape[-1]))


def _places(shape: LlamaConfig) -> tuple[list[int], int]:
    """Return each layer's place among those with a cache of its kind, and how many
    attend with their own; one that borrows has the place of the last such of its
    kind."""
    places: list[int] = []
    counts, last = Counter[bool](), dict[str, int]()
    for kind, heads in zip(shape.kinds, shape.heads, strict=True):
        if not heads.borrows:
            attends = heads.query > 0
            last[kind] = counts[attends]
            counts[attends] += 1
        places.append(last[kind])
    return places, counts[True]
