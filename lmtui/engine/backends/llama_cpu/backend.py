"""Forward pass of our own decoder for Llama-shaped models on a CPU.

Implements `base.ModelBackend` and starts the compilation of faster kernels. Knows no
layout of weights and no attention.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from logging import getLogger

import torch
from torch import Tensor

from lmtui import processes
from lmtui.engine.backends.base import Reuse, T, chunk_for, require_distribution
from lmtui.engine.backends.llama_cpu import compile
from lmtui.engine.backends.llama_cpu.decoder import DecoderLayers
from lmtui.engine.backends.llama_cpu.kv_cache import PreallocatedKVCache
from lmtui.engine.backends.llama_cpu.thread_count import ThreadCount
from lmtui.engine.protocol import Stop
from lmtui.engine.token_tree import Tree
from lmtui.errors import Cancelled
from lmtui.kernels import build
from lmtui.models.llama.gguf_blocks import BlockLinear
from lmtui.models.llama.half import HalfLinear
from lmtui.models.llama.weights import LlamaWeights

_COMMAND = (*processes.MODULE, "lmtui.engine.backends.llama_cpu.compile_worker")

_CHUNK = 512  # most prompt tokens of one prefill pass
_BLOCK_ROWS = 128  # rows of logits in memory at once while scoring
# Cost of running 1, 2, … speculated tokens along with one token, in passes over one
# token (see `ModelBackend.extra_token_costs`).
# With torch's int4 kernel: a product of four tokens takes a third longer than one of a
# single token, one of five takes twice as long; with AVX-512 or without, compiled by
# torch's exporter or not.
_GUESS_COSTS = (0.13, 0.29, 0.46, 1.15, 1.25, 1.35, 1.45)
# With our own int4 products (the C++ fused block), whose cost has no such step.
_NATIVE_COSTS = (0.13, 0.3, 0.5, 0.75, 0.95, 1.2, 1.45)
# With the blocks of GGUF files and AVX-512, for 135 million weights.
_BLOCK_COSTS = (0.3, 0.65, 1.05, 1.7, 2.2, 2.7, 3.2)
# With 16-bit weights and AVX-512.
_HALF_COSTS = (0.27, 0.46, 0.73, 1.15, 1.45, 1.75, 1.8)
_COSTS: dict[type, Sequence[float]] = {
    BlockLinear: _BLOCK_COSTS,
    HalfLinear: _HALF_COSTS,
}


class BackgroundCompiler:
    """Compiles a model's kernels in a separate process and puts them into use."""

    def __init__(self, decoder: DecoderLayers, *, long_running: bool) -> None:
        """`long_running` allows compilation: this process will live long enough to use
        it."""
        self._decoder = decoder
        self._plan = decoder.plan()
        self._may_compile = long_running
        self.process: subprocess.Popen[bytes] | None = None
        self._put_in_use()

    def around_generation(self, answer: Iterator[T]) -> Iterator[T]:
        """Yield from `answer`. Before it, kernels compiled in the meantime are put into
        use; after it, a compilation may start."""
        if self.process is not None and self.process.poll() is not None:
            self.process = None
            self._put_in_use()
        try:
            yield from answer
        finally:
            self._compile()

    def _put_in_use(self) -> None:
        decoder = self._decoder
        try:
            if decoder.kernels is not None:
                decoder.use(compile.opened_for(decoder.shape, decoder.kernels), None)
            elif self._plan is not None and compile.is_stored(self._plan):
                decoder.use(compile.opened(self._plan), self._plan)
                self._may_compile = False
        except ValueError as error:
            getLogger("lmtui").warning("what was compiled is not used: %s", error)

    def _compile(self) -> None:
        """Start the compiler, unless it can't help or has been tried."""
        if self._plan is None or not self._may_compile:
            return
        self._may_compile = False
        compiler = build.compiler_id()
        folder = compile.folder_of(self._plan)
        if compiler is None or build.failure(folder, compiler) is not None:
            return
        command = [*_COMMAND, json.dumps(asdict(self._plan)), compiler]
        with suppress(OSError), open(os.devnull, "wb") as nothing:
            self.process = processes.begin(command, nothing, beneath=True)


class LlamaCpuBackend:
    """Forward pass of a Llama-shaped model; see `base.ModelBackend` for each method's
    contract."""

    reuse = Reuse.ANY_PREFIX
    reads_trees = True

    def __init__(self, weights: LlamaWeights, *, long_running: bool = False) -> None:
        """`long_running` says that many answers will follow, so that compiling pays."""
        self.decoder = DecoderLayers(weights)
        self._costs = _COSTS.get(type(weights.layers[0].qkv), _GUESS_COSTS)
        self.compiler = BackgroundCompiler(self.decoder, long_running=long_running)
        self.prefill_chunk = chunk_for(weights.layers[0].numel, _CHUNK)
        self._head = weights.lm_head
        # Only our own kernels give the same bits with any number of threads.
        compiled = self.decoder.compiled if weights.kernels else None
        own = compiled is not None and compiled.attention is not None
        self._threads = ThreadCount(torch.get_num_threads() if own else 1)

    @property
    def extra_token_costs(self) -> Sequence[float]:
        """Cost of running more than one token in one pass; see
        `ModelBackend.extra_token_costs`."""
        return _NATIVE_COSTS if self.decoder.are_native else self._costs

    def around_generation(self, answer: Iterator[T]) -> Iterator[T]:
        """Yield from `answer`; faster kernels are loaded before it and compiled after
        it."""
        with self._threads.lasting():
            yield from self.compiler.around_generation(answer)

    def new_cache(self) -> PreallocatedKVCache:
        """Return an empty KV cache."""
        return PreallocatedKVCache(self.decoder.sizes)

    @torch.inference_mode()
    def logits(
        self,
        ids: Sequence[int],
        held: PreallocatedKVCache | None = None,
        *,
        keep: int = 1,
        should_stop: Stop | None = None,
    ) -> Tensor:
        """Logits [keep, V] after the last `keep` of `ids`."""
        with self._threads.measured(len(ids)):
            return self.head(self._hidden_states(ids, held, keep, should_stop))

    @torch.inference_mode()
    def next_logits(
        self,
        tokens: Sequence[int],
        held: PreallocatedKVCache,
        *,
        should_stop: Stop | None = None,
    ) -> Tensor:
        """Logits [n, V] after one more token for each of the n rows."""
        ids = torch.tensor(tokens).unsqueeze(1)
        with self._threads.measured(len(tokens)):
            states = self.decoder.hidden_states(
                ids, held, between=_looking(should_stop)
            )
            return self.head(states)

    @torch.inference_mode()
    def hidden_states(
        self,
        ids: Sequence[int],
        held: PreallocatedKVCache | None = None,
        *,
        keep: int = 1,
        should_stop: Stop | None = None,
    ) -> Tensor:
        """States [keep, D] after the last `keep` of `ids`: the input of `head`."""
        with self._threads.measured(len(ids)):
            return self._hidden_states(ids, held, keep, should_stop)

    def _hidden_states(
        self,
        ids: Sequence[int],
        held: PreallocatedKVCache | None,
        keep: int,
        should_stop: Stop | None,
    ) -> Tensor:
        return self.decoder.hidden_states(
            torch.tensor([list(ids)]),
            self.new_cache() if held is None else held,
            keep=torch.arange(len(ids) - keep, len(ids)),
            between=_looking(should_stop),
        )

    @torch.inference_mode()
    def hidden_states_after(
        self,
        paths: Sequence[Sequence[int]],
        held: PreallocatedKVCache,
        *,
        should_stop: Stop | None = None,
    ) -> Tensor:
        """States [n, width] after each of n paths."""
        longest = max(map(len, paths))
        # Attention is causal: padding behind a path changes none of its states.
        filled = [[*path, *[0] * (longest - len(path))] for path in paths]
        last = [row * longest + len(path) - 1 for row, path in enumerate(paths)]
        return self.decoder.hidden_states(
            torch.tensor(filled),
            held,
            keep=torch.tensor(last),
            between=_looking(should_stop),
        )

    @torch.inference_mode()
    def hidden_states_tree(
        self, tree: Tree, held: PreallocatedKVCache, *, should_stop: Stop | None = None
    ) -> Tensor:
        """States [n, width] after each token of a tree."""
        return self.decoder.hidden_states(
            torch.tensor([tree.ids]),
            held,
            depths=torch.tensor(tree.depths),
            mask=tree.seen.log(),  # 1 becomes 0, and 0 becomes -inf
            between=_looking(should_stop),
        )

    @torch.inference_mode()
    def head(self, states: Tensor) -> Tensor:
        """Logits [n, V], float32, of states [n, D]."""
        return require_distribution(self._head.times(states))

    def all_logits(
        self, ids: Sequence[int], *, skip: int = 0, should_stop: Stop | None = None
    ) -> Iterator[Tensor]:
        """Yield the logits after each of `ids` but the first `skip`, in blocks [rows,
        V]."""
        if skip >= len(ids):
            return
        states = self.hidden_states(ids, keep=len(ids) - skip, should_stop=should_stop)
        for block in torch.split(states, _BLOCK_ROWS):
            yield self.head(block)


def _looking(should_stop: Stop | None) -> Callable[[], None]:
    """Return a function that raises `Cancelled` once `should_stop` answers True; it is
    called between two layers."""

    def look() -> None:
        if should_stop is not None and should_stop():
            raise Cancelled

    return look
