"""Forward pass of our own decoder for Llama-shaped models on a CPU.

Implements `base.ModelBackend`. Knows no layout of weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from logging import getLogger

import torch
from torch import Tensor

from lmtui import cache_dir
from lmtui.engine.backend import Reuse, chunk_for, require_distribution
from lmtui.engine.backends.llama_cpu.attention import Attention
from lmtui.engine.backends.llama_cpu.decoder import DecoderLayers
from lmtui.engine.backends.llama_cpu.kv_cache import PreallocatedKVCache
from lmtui.engine.token_tree import Tree
from lmtui.kernels import build
from lmtui.kernels.gguf_formats import DTYPES
from lmtui.models.llama.linear import FEW
from lmtui.models.llama.weights import LlamaWeights

_CHUNK = 512  # most prompt tokens of one prefill pass
# Cost of running 1, 2, … speculated tokens along with one token, in passes over one
# token (see `ModelBackend.extra_token_costs`).
# With the blocks of GGUF files, for 135 million weights: AVX-512; with AVX2 the same up
# to four tokens, a fifth less from there on.
_BLOCK_COSTS = (0.3, 0.65, 1.05, 1.7, 2.2, 2.7, 3.2)
# With copies of them in panels, for 135 million weights, on Ice Lake.
_PANEL_COSTS = (0.1, 0.4, 0.5, 0.9, 1.2, 1.7, 1.75)
# With 16-bit weights and AVX2.
_HALF_COSTS = (0.08, 0.18, 0.25, 0.32, 0.44, 0.58, 0.75)


class LlamaCpuBackend:
    """Forward pass of a Llama-shaped model; see `base.ModelBackend` for each method's
    contract."""

    top_logprobs = None
    is_remote = False
    block_rows = 128

    def __init__(self, weights: LlamaWeights) -> None:
        attention = _attention_for(weights)
        self.decoder = DecoderLayers(weights, attention)
        layer = weights.layers[0]
        is_half = layer.qkv.number_format in DTYPES.values()
        of_blocks = _PANEL_COSTS if layer.qkv.few > FEW else _BLOCK_COSTS
        self.extra_token_costs = _HALF_COSTS if is_half else of_blocks
        products = "bfloat16" if layer.qkv.rounds else "float32"
        self.prefill_chunk = chunk_for(layer.numel, _CHUNK, products)
        self._head = weights.lm_head
        attends = self.decoder.sizes.state == 0
        self.reuse = Reuse.ANY_PREFIX if attends else Reuse.CHECKPOINTS
        self.reads_trees = attends

    def new_cache(self) -> PreallocatedKVCache:
        return PreallocatedKVCache(self.decoder.sizes)

    @torch.inference_mode()
    def logits(
        self,
        ids: Sequence[int],
        cache: PreallocatedKVCache | None = None,
        *,
        keep: int = 1,
    ) -> Tensor:
        states = self.hidden_states(ids, cache, keep=keep)
        return self.head(states)

    @torch.inference_mode()
    def next_logits(self, tokens: Sequence[int], cache: PreallocatedKVCache) -> Tensor:
        ids = torch.tensor(tokens).unsqueeze(1)
        states = self.decoder.hidden_states(ids, cache)
        return self.head(states)

    @torch.inference_mode()
    def hidden_states(
        self,
        ids: Sequence[int],
        cache: PreallocatedKVCache | None = None,
        *,
        keep: int = 1,
    ) -> Tensor:
        return self.decoder.hidden_states(
            torch.tensor([list(ids)]),
            self.new_cache() if cache is None else cache,
            keep=torch.arange(len(ids) - keep, len(ids)),
        )

    @torch.inference_mode()
    def layer_states(
        self,
        ids: Sequence[int],
        cache: PreallocatedKVCache | None = None,
        *,
        keep: int = 1,
    ) -> Tensor:
        states = self.decoder.layer_states(
            torch.tensor([list(ids)]),
            self.new_cache() if cache is None else cache,
            keep=torch.arange(len(ids) - keep, len(ids)),
        )
        shape = self.decoder.shape
        every = torch.empty(keep, shape.layers + 1, shape.width)
        for layer, layer_output in enumerate(states):
            every[:, layer] = layer_output
        return every

    @torch.inference_mode()
    def hidden_states_after(
        self, paths: Sequence[Sequence[int]], cache: PreallocatedKVCache
    ) -> Tensor:
        longest = max(map(len, paths))
        # Attention is causal: padding behind a path changes none of its states.
        filled = [[*path, *[0] * (longest - len(path))] for path in paths]
        last = [row * longest + len(path) - 1 for row, path in enumerate(paths)]
        return self.decoder.hidden_states(
            torch.tensor(filled),
            cache,
            keep=torch.tensor(last),
        )

    @torch.inference_mode()
    def hidden_states_tree(self, tree: Tree, cache: PreallocatedKVCache) -> Tensor:
        return self.decoder.hidden_states(
            torch.tensor([tree.ids]),
            cache,
            depths=torch.tensor(tree.depths),
            mask=tree.seen.log(),  # 1 becomes 0, and 0 becomes -inf
        )

    @torch.inference_mode()
    def head(self, states: Tensor) -> Tensor:
        shape = self.decoder.shape
        logits = self._head.times(states * shape.logits_scale)
        if cap := shape.logits_cap:
            logits = logits.div_(cap).tanh_().mul_(cap)
        return require_distribution(logits)

    def all_logits(self, ids: Sequence[int], *, skip: int = 0) -> Iterator[Tensor]:
        if skip >= len(ids):
            return
        states = self.hidden_states(ids, keep=len(ids) - skip)
        for block in torch.split(states, self.block_rows):
            yield self.head(block)


def _attention_for(weights: LlamaWeights) -> Attention | None:
    """Return compiled attention for a model; None for head widths without a kernel,
    and where the library computes something else, which is then removed."""
    kernel, shape = weights.layers[0].qkv.kernel, weights.shape
    seen = cache_dir.identity(kernel.file.parent)
    attention = Attention(kernel.library, shape.heads)
    if not attention.is_compiled:
        return None
    try:
        attention.require_right()
    except ValueError as error:
        build.discard(kernel.file, seen)
        getLogger("lmtui").warning("compiled attention is not used: %s", error)
        return None
    return attention
