"""A transformers model on a GPU, one token at a time as one recorded graph.

Owns a cache whose memory stays where it is, and the graph of a step over it. A step of
a small model is hundreds of operations that take the GPU less time than it takes to
ask for them; recorded once, they are asked for with one call (CUDA graphs: see the
notes of PyTorch on `torch.cuda.CUDAGraph`). How many tokens are held is a number on the
device, so that a step is the same at every place.

What is recorded is trusted only where it answers what the plain pass answers; where it
can't be recorded or does not, steps run as they do in `library`. Everything but the
recording runs on a CPU as well, where it is tested.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, StaticCache
from transformers.cache_utils import DynamicLayer, StaticLayer

from lmtui.engine.backends.base import Reuse, answered
from lmtui.engine.backends.transformers import TransformersBackend, TransformersKVCache
from lmtui.engine.protocol import Stop
from lmtui.errors import Cancelled

_FIRST = 512  # tokens that there is room for at first
_ALIGNED = 64  # kernels of attention copy a mask that is no multiple of their steps
_WARM_UP = 3  # steps before one is recorded, in which libraries choose their kernels
_NEAR = 0.05  # nats between the recorded step and the plain one
_log = logging.getLogger(__name__)


class _Layer(StaticLayer):  # type: ignore[misc]
    """The library's, without the marks for its compiler, which takes seconds to
    import."""

    cumulative_length: Tensor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.device = key_states.device
        rows, heads, _, width = key_states.shape
        room = rows, heads, self.max_cache_len
        self.keys = key_states.new_zeros(*room, width)
        self.values = value_states.new_zeros(*room, value_states.shape[-1])
        self.cumulative_length = self.cumulative_length.to(self.device)
        self.is_initialized = True


class StaticKVCache:
    """A cache whose memory stays where it is while there is room in it; then all moves
    to a larger one."""

    def __init__(self, layers: int, most: int) -> None:
        self._most = most
        self._room = min(_FIRST, most)
        self._length = 0
        self.cache = Cache(layers=[_Layer(self._room) for _ in range(layers)])
        self.step: CapturedStep | None = None
        """The recorded step over this cache."""

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return self._length

    @property
    def _used(self) -> list[Any]:
        return [layer for layer in self.cache.layers if layer.is_initialized]

    @property
    def row_bytes(self) -> int:
        """Bytes of memory that each row of a fork takes, in the beginning."""
        whole: int = sum(x.keys.nbytes + x.values.nbytes for x in self._used)
        return whole * self._length // self._room

    def added(self, tokens: int) -> None:
        """So many tokens were run in every layer."""
        self._length += tokens

    @torch.inference_mode()
    def crop(self, length: int) -> None:
        """Hold the first `length` tokens alone, in every layer."""
        self._length = min(self._length, length)
        self.back()
        for layer in self._used:  # what is masked counts 0 times: that of NaN is NaN
            layer.keys[:, :, self._length :].zero_()
            layer.values[:, :, self._length :].zero_()

    @torch.inference_mode()
    def back(self) -> None:
        """Let the next token come after those that are held, whatever was tried."""
        for layer in self.cache.layers:
            layer.cumulative_length.fill_(self._length)

    @torch.inference_mode()
    def make_room(self, tokens: int) -> None:
        """Make room for so many tokens more."""
        need = self._length + tokens
        if need <= self._room:
            return
        room = max(need, min(2 * self._room, self._most))
        self._room = -(-room // _ALIGNED) * _ALIGNED
        larger = Cache(layers=[_Layer(self._room) for _ in self.cache.layers])
        for old, new in zip(self.cache.layers, larger.layers, strict=True):
            if old.is_initialized:
                end = self._length
                new.update(old.keys[:, :, :end], old.values[:, :, :end])
        self.cache, self.step = larger, None

    def fork(self, rows: int, length: int | None = None) -> TransformersKVCache:
        """So many rows, each holding what this one holds, or a part of it."""
        end = self._length if length is None else min(length, self._length)
        forked = DynamicCache()
        for layer in self._used:
            row = DynamicLayer()
            row.lazy_initialization(layer.keys, layer.values)
            # Only views: the first token that is run on them makes the copies.
            row.keys = layer.keys[:, :, :end].expand(rows, -1, -1, -1)
            row.values = layer.values[:, :, :end].expand(rows, -1, -1, -1)
            forked.layers.append(row)
        return TransformersKVCache(forked)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """There is one row."""
        raise ValueError("a static cache has one row")


class CapturedStep:
    """One token more, as something that can be done again and again."""

    def __init__(self, model: Any, held: StaticKVCache) -> None:
        self._model = model
        self._held = held
        self._cache = held.cache
        self._ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
        self._logits: Tensor | None = None
        self._graph: torch.cuda.CUDAGraph | None = None

    def _run(self) -> Tensor:
        output = self._model(input_ids=self._ids, cache=self._cache, use_cache=True)
        logits: Tensor = output.logits[0]
        return logits

    @torch.inference_mode()
    def record(self) -> None:
        """Record the step, on a GPU; no more than the next token's place is written.

        Raises:
            RuntimeError: the model does something that can't be recorded.
        """
        device, graph = self._model.device, torch.cuda.CUDAGraph()
        with torch.cuda.device(device):  # or else another one's streams are meant
            here = torch.cuda.current_stream()
            aside: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                # The ways a library chooses its kernels can't be recorded.
                for _ in range(_WARM_UP):
                    self._run()
                    self._held.back()
                with _refusing_to_wait():
                    self._run()
                self._held.back()
            here.wait_stream(aside)
            # The outer one brings back what a recording that fails leaves behind.
            with torch.cuda.stream(here), torch.cuda.graph(graph, stream=aside):
                self._logits = self._run()
        self._graph = graph

    @torch.inference_mode()
    def logits(self, token: int) -> Tensor:
        """Logits [1, V] after the token."""
        self._ids.fill_(token)
        if self._graph is None:
            self._logits = self._run()
        else:
            self._graph.replay()
        assert self._logits is not None
        # A copy: the next step writes its own in the same place.
        return answered(self._logits.to(torch.float32, copy=True))


@contextmanager
def _refusing_to_wait() -> Iterator[None]:
    """Raise a RuntimeError for what would make a recording fail: waiting for the GPU.
    A recording that has failed leaves torch's allocator in its midst."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class CudaGraphBackend(TransformersBackend):
    """The same as `TransformersBackend`, but for steps of one token."""

    guess_costs = ()  # a pass over several tokens is not recorded

    def __init__(self, model: Any, *, records: bool = True) -> None:
        """`records` steps, which only a GPU can."""
        super().__init__(model)
        self._records = records

    @staticmethod
    def suits(model: Any) -> bool:
        """Whether every layer of a model keeps every token."""
        if not hasattr(model, "get_decoder") or model.get_decoder() is model:
            return False
        config = model.config.get_text_config()
        if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
            return False  # a graph is of one device
        try:
            layers = StaticCache(config=config, max_cache_len=8).layers
        except (AttributeError, TypeError, ValueError):
            return False
        return all(type(layer) is StaticLayer for layer in layers)

    def hold(self) -> Any:
        """What holds nothing yet."""
        if self.reuse is not Reuse.ANY_PREFIX:
            return super().hold()
        config = self.model.config.get_text_config()
        most = getattr(config, "max_position_embeddings", _FIRST)
        return StaticKVCache(config.num_hidden_layers, most)

    def logits(
        self,
        ids: Sequence[int],
        held: Any = None,
        *,
        keep: int = 1,
        stop: Stop | None = None,
    ) -> Tensor:
        """Logits [keep, V] after the last `keep` of `ids`."""
        if not _is_static(held):
            return super().logits(ids, held, keep=keep, stop=stop)
        held.make_room(len(ids))
        if len(ids) == 1 and held.length > 0:
            if stop is not None and stop():
                raise Cancelled
            logits = self._step(held).logits(ids[0])
        else:
            logits = super().logits(ids, held, keep=keep, stop=stop)
        held.added(len(ids))
        return logits

    def states(
        self,
        ids: Sequence[int],
        held: Any = None,
        *,
        keep: int = 1,
        stop: Stop | None = None,
    ) -> Tensor:
        """What `head` makes the logits of, after the last `keep` of `ids`."""
        if not _is_static(held):
            return super().states(ids, held, keep=keep, stop=stop)
        held.make_room(len(ids))
        before = held.length
        states = super().states(ids, held, keep=keep, stop=stop)
        if held.length == before:  # or else `logits` was asked, which has counted
            held.added(len(ids))
        return states

    def _step(self, held: Any) -> CapturedStep:
        if held.step is None:
            held.step = self._recorded(held) if self._records else None
        return held.step or CapturedStep(self.model, held)

    def _recorded(self, held: Any) -> CapturedStep | None:
        """The step over a cache, if it can be recorded and does what it should."""
        step = CapturedStep(self.model, held)
        try:
            wanted = super().logits([1], held)
            held.back()
            step.record()
            found = step.logits(1)
            off = (found.log_softmax(-1) - wanted.log_softmax(-1)).abs().max()
            if not float(off) < _NEAR:
                raise RuntimeError(f"it is off by {float(off):.3g} nats")
        except RuntimeError as error:
            _log.warning("steps are not recorded: %s", error)
            self._records = False
            return None
        finally:
            held.back()
        return step


def _is_static(held: Any) -> bool:
    return isinstance(held, StaticKVCache)
