"""One forward pass of lmtui's own, behind the same seam as the library's.

Owns what is run for each question. Knows no layout of weights and no attention.
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
from lmtui.engine.backends.base import Reuse, T, checked, chunk_for
from lmtui.engine.backends.llama_cpu import compile
from lmtui.engine.backends.llama_cpu.decoder import DecoderLayers
from lmtui.engine.backends.llama_cpu.kv_cache import PreallocatedKVCache
from lmtui.engine.protocol import Stop
from lmtui.engine.token_tree import Tree
from lmtui.errors import Cancelled
from lmtui.kernels import build
from lmtui.models.llama.weights import LlamaWeights

_COMMAND = (*processes.MODULE, "lmtui.engine.backends.llama_cpu.compile_worker")


class BackgroundCompiler:
    """A model's steps, and what makes them faster. `lasting` allows to compile: this
    process will be there to use it."""

    def __init__(self, steps: DecoderLayers, *, lasting: bool) -> None:
        self._steps = steps
        self._plan = steps.plan()
        self._may_compile = lasting
        self._process: subprocess.Popen[bytes] | None = None
        self._put_in_use()

    def answering(self, answer: Iterator[T]) -> Iterator[T]:
        """Pass an answer on. Before it, what was compiled meanwhile is put in use;
        after it, compiling begins."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            self._put_in_use()
        try:
            yield from answer
        finally:
            self._compile()

    def _put_in_use(self) -> None:
        steps = self._steps
        try:
            if steps.kernels is not None:
                steps.use(compile.opened_for(steps.shape, steps.kernels), None)
            elif self._plan is not None and compile.is_kept(self._plan):
                steps.use(compile.opened(self._plan), self._plan)
                self._may_compile = False
        except ValueError as error:
            getLogger("lmtui").warning("what was compiled is not used: %s", error)

    def _compile(self) -> None:
        """Begin to compile, if it is of use and was not tried."""
        if self._plan is None or not self._may_compile:
            return
        self._may_compile = False
        compiler = build.found()
        folder = compile.folder_of(self._plan)
        if compiler is None or build.failure(folder, compiler) is not None:
            return
        command = [*_COMMAND, json.dumps(asdict(self._plan)), compiler]
        with suppress(OSError), open(os.devnull, "wb") as nothing:
            self._process = processes.begin(command, nothing, beneath=True)


_CHUNK = 512
_BLOCK_ROWS = 128
_GUESS_COSTS = (0.13, 0.29, 0.46, 1.15, 1.25, 1.35, 1.45)
# Packed products of four tokens take a third longer than those of one, of five twice as
# long; with AVX-512 or without, compiled by the exporter or not.
_NATIVE_COSTS = (0.13, 0.3, 0.5, 0.75, 0.95, 1.2, 1.45)
# The same with products of our own, whose costs have no step.
_STORED_COSTS = (0.27, 0.46, 0.73, 1.15, 1.45, 1.75, 1.8)
# Those with weights of 16 bits, with AVX-512.


class LlamaCpuBackend:
    """A Llama-shaped model; see `forward.Forward` for what each verb promises."""

    reuse = Reuse.ANY_PREFIX
    reads_trees = True

    def __init__(self, weights: LlamaWeights, *, lasting: bool = False) -> None:
        """`lasting` says that there will be many answers."""
        self._steps = DecoderLayers(weights)
        stored = weights.layers[0].qkv.takes is torch.float32
        self._costs = _STORED_COSTS if stored else _GUESS_COSTS
        self._compiling = BackgroundCompiler(self._steps, lasting=lasting)
        self.chunk = chunk_for(weights.layers[0].numel, _CHUNK)
        self._head = weights.head

    @property
    def guess_costs(self) -> Sequence[float]:
        """What more than one token costs in one pass."""
        return _NATIVE_COSTS if self._steps.are_native else self._costs

    def answering(self, answer: Iterator[T]) -> Iterator[T]:
        """Pass an answer on; what makes the next one faster is done around it."""
        return self._compiling.answering(answer)

    def hold(self) -> PreallocatedKVCache:
        """What holds nothing yet."""
        return PreallocatedKVCache(self._steps.sizes)

    @torch.inference_mode()
    def logits(
        self,
        ids: Sequence[int],
        held: PreallocatedKVCache | None = None,
        *,
        keep: int = 1,
        stop: Stop | None = None,
    ) -> Tensor:
        """Logits [keep, V] after the last `keep` of `ids`."""
        return self.head(self.states(ids, held, keep=keep, stop=stop))

    @torch.inference_mode()
    def next_logits(
        self,
        tokens: Sequence[int],
        held: PreallocatedKVCache,
        *,
        stop: Stop | None = None,
    ) -> Tensor:
        """Logits [n, V] after one more token for each of the n rows."""
        ids = torch.tensor(tokens).unsqueeze(1)
        return self.head(self._steps.states(ids, held, between=_looking(stop)))

    @torch.inference_mode()
    def states(
        self,
        ids: Sequence[int],
        held: PreallocatedKVCache | None = None,
        *,
        keep: int = 1,
        stop: Stop | None = None,
    ) -> Tensor:
        """What `head` makes the logits of, after the last `keep` of `ids`."""
        return self._steps.states(
            torch.tensor([list(ids)]),
            self.hold() if held is None else held,
            keep=torch.arange(len(ids) - keep, len(ids)),
            between=_looking(stop),
        )

    @torch.inference_mode()
    def states_after(
        self,
        paths: Sequence[Sequence[int]],
        held: PreallocatedKVCache,
        *,
        stop: Stop | None = None,
    ) -> Tensor:
        """States [n, width] after each of n paths."""
        longest = max(map(len, paths))
        # No token sees those after it: what a path is filled up with is of no effect.
        filled = [[*path, *[0] * (longest - len(path))] for path in paths]
        last = [row * longest + len(path) - 1 for row, path in enumerate(paths)]
        return self._steps.states(
            torch.tensor(filled), held, keep=torch.tensor(last), between=_looking(stop)
        )

    @torch.inference_mode()
    def states_in(
        self, tree: Tree, held: PreallocatedKVCache, *, stop: Stop | None = None
    ) -> Tensor:
        """States [n, width] after each token of a tree."""
        return self._steps.states(
            torch.tensor([tree.ids]),
            held,
            depths=torch.tensor(tree.depths),
            mask=tree.seen.log(),  # of 1 and 0: 0 and -inf
            between=_looking(stop),
        )

    @torch.inference_mode()
    def head(self, states: Tensor) -> Tensor:
        """Logits [n, V], float32, of n states."""
        return checked(self._head.times(states))

    def all_logits(
        self, ids: Sequence[int], *, skip: int = 0, stop: Stop | None = None
    ) -> Iterator[Tensor]:
        """Logits after every one of `ids` but the first `skip`, in blocks."""
        if skip >= len(ids):
            return
        states = self.states(ids, keep=len(ids) - skip, stop=stop)
        for block in torch.split(states, _BLOCK_ROWS):
            yield self.head(block)


def _looking(stop: Stop | None) -> Callable[[], None]:
    """What asks `stop` between two layers."""

    def look() -> None:
        if stop is not None and stop():
            raise Cancelled

    return look
