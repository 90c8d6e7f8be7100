"""Forward passes of a transformers model on a GPU, with decode steps as a CUDA graph.

A decode step of a small model is hundreds of kernels, and launching them takes longer
than running them; a recorded step is launched with one call (see PyTorch's notes on
`torch.cuda.CUDAGraph`). All but the recording also runs on a CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, StaticCache
from transformers.cache_utils import StaticLayer

from lmtui import cancellation
from lmtui.engine.backend import Reuse, float_logits, grown_room
from lmtui.engine.backends.transformers import (
    TransformersBackend,
    TransformersKVCache,
    preallocated_cache,
    view_of,
)
from lmtui.models import accelerator
from lmtui.models.accelerator import Outputs

_FIRST = 512  # tokens of the first allocation
_ALIGNED = 64  # attention kernels copy a mask whose length is no multiple of this
_NEAR = 0.05  # largest difference in nats between a recorded and a plain step
_log = logging.getLogger(__name__)


class _Layer(StaticLayer):  # type: ignore[misc]
    """The library's static layer without the marks for torch.compile, which takes
    seconds to import."""

    cumulative_length: Tensor

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.device = key_states.device
        rows, heads, _, width = key_states.shape
        room = rows, heads, self.max_cache_len
        self.keys = key_states.new_zeros(*room, width)
        self.values = value_states.new_zeros(*room, value_states.shape[-1])
        self.cumulative_length = self.cumulative_length.to(
            self.device, non_blocking=True
        )
        self.is_initialized = True


class StaticKVCache:
    """KV cache of one row at a fixed address, as a recorded graph needs it.

    The number of tokens is a value on the device, so that a decode step is the same at
    every position. When the room is used up, all moves to a larger cache and the
    recorded step is dropped.
    """

    def __init__(self, layers: int, limit: int) -> None:
        self._most = limit
        self._room = min(_FIRST, limit)
        self._length = 0
        self.cache = Cache(layers=[_Layer(self._room) for _ in range(layers)])
        self.step: CapturedStep | None = None
        """The recorded decode step over this memory, if any."""

    @property
    def length(self) -> int:
        return self._length

    @property
    def _used(self) -> list[Any]:
        return [layer for layer in self.cache.layers if layer.is_initialized]

    @property
    def row_bytes(self) -> int:
        whole: int = sum(x.keys.nbytes + x.values.nbytes for x in self._used)
        return whole * self._length // self._room

    def commit(self, tokens: int) -> None:
        """Count `tokens` more tokens, which were run in every layer."""
        self._length += tokens

    @torch.inference_mode()
    def crop(self, length: int) -> None:
        self._length = min(self._length, length)
        self.back()
        for layer in self._used:  # masked values are multiplied by 0, and 0 · NaN = NaN
            layer.keys[:, :, self._length :].zero_()
            layer.values[:, :, self._length :].zero_()

    @torch.inference_mode()
    def back(self) -> None:
        """Reset the device's counters, so that the next token is written after the
        counted ones."""
        for layer in self.cache.layers:
            layer.cumulative_length.fill_(self._length)

    @torch.inference_mode()
    def make_room(self, tokens: int) -> None:
        """Make room for `tokens` more tokens, by moving to a larger cache where
        needed."""
        need = self._length + tokens
        if need <= self._room:
            return
        room = max(need, min(grown_room(self._room, need, _FIRST), self._most))
        self._room = -(-room // _ALIGNED) * _ALIGNED
        larger = Cache(layers=[_Layer(self._room) for _ in self.cache.layers])
        for old, new in zip(self.cache.layers, larger.layers, strict=True):
            if old.is_initialized:
                end = self._length
                new.update(old.keys[:, :, :end], old.values[:, :, :end])
        self.cache, self.step = larger, None

    def fork(self, rows: int, length: int | None = None) -> TransformersKVCache:
        end = self._length if length is None else min(length, self._length)
        forked = preallocated_cache()
        forked.layers += [view_of(x.keys, x.values, rows, end) for x in self._used]
        return TransformersKVCache(forked)

    def select_rows(self, rows: Sequence[int]) -> None:
        raise ValueError("a static cache has one row")


class CapturedStep:
    """One decode step, recorded as a CUDA graph or run as it is."""

    def __init__(self, model: Any, cache: StaticKVCache) -> None:
        self._model = model
        self._kv_cache = cache
        self._cache = cache.cache
        self._ids = torch.zeros(1, 1, dtype=torch.long, device=model.device)
        self._recording: tuple[Outputs, Callable[[], object]] | None = None

    def _run(self) -> Outputs:
        output = self._model(input_ids=self._ids, cache=self._cache, use_cache=True)
        return (output.logits[0],)

    @torch.inference_mode()
    def record(self) -> None:
        """Record the step on a GPU. Writes no cache position but the next token's.

        Raises:
            RuntimeError: the model does something that can't be recorded.
        """
        device = self._model.device
        self._recording = accelerator.recorded(device, self._run, self._kv_cache.back)

    @torch.inference_mode()
    def logits(self, token: int) -> Tensor:
        """Logits [1, V] after `token`."""
        self._ids.fill_(token)
        if self._recording is None:
            [logits] = self._run()
        else:
            [logits], replay = self._recording
            replay()
        # A copy: the next step overwrites this memory.
        return float_logits(logits.to(torch.float32, copy=True))


class CudaGraphBackend(TransformersBackend):
    """`TransformersBackend` whose decode steps of one token are recorded.

    A recorded step is used only if its logits match a plain pass. Where it can't be
    recorded, or does not match, steps run as in `TransformersBackend`.
    """

    extra_token_costs = ()  # a pass over several tokens is not recorded

    def __init__(self, model: Any, *, records: bool = True) -> None:
        """`records` says whether steps are recorded, which only a GPU can do."""
        super().__init__(model)
        self._records = records

    @staticmethod
    def suits(model: Any) -> bool:
        """Return whether every layer of a model caches every token, on one device."""
        if not hasattr(model, "get_decoder") or model.get_decoder() is model:
            return False
        config = model.config.get_text_config()
        if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
            return False  # a graph runs on one device
        try:
            layers = StaticCache(config=config, max_cache_len=8).layers
        except (AttributeError, TypeError, ValueError):
            return False
        return all(type(layer) is StaticLayer for layer in layers)

    def new_cache(self) -> Any:
        if self.reuse is not Reuse.ANY_PREFIX:
            return super().new_cache()
        config = self.model.config.get_text_config()
        most = getattr(config, "max_position_embeddings", _FIRST)
        return StaticKVCache(config.num_hidden_layers, most)

    def logits(self, ids: Sequence[int], cache: Any = None, *, keep: int = 1) -> Tensor:
        if not _is_static(cache):
            return super().logits(ids, cache, keep=keep)
        cache.make_room(len(ids))
        if len(ids) == 1 and cache.length > 0:
            cancellation.check()
            logits = self._step(cache).logits(ids[0])
        else:
            logits = super().logits(ids, cache, keep=keep)
        cache.commit(len(ids))
        return logits

    def hidden_states(
        self, ids: Sequence[int], cache: Any = None, *, keep: int = 1
    ) -> Tensor:
        if not _is_static(cache):
            return super().hidden_states(ids, cache, keep=keep)
        cache.make_room(len(ids))
        before = cache.length
        states = super().hidden_states(ids, cache, keep=keep)
        if cache.length == before:  # `states` may fall back to `logits`, which counts
            cache.commit(len(ids))
        return states

    def _step(self, cache: Any) -> CapturedStep:
        if cache.step is None:
            cache.step = self._capture(cache) if self._records else None
        return cache.step or CapturedStep(self.model, cache)

    def _capture(self, cache: Any) -> CapturedStep | None:
        """Record the step over a cache; None where that fails or the logits are
        wrong."""
        step = CapturedStep(self.model, cache)
        try:
            wanted = super().logits([1], cache)
            cache.back()
            step.record()
            logits = step.logits(1)
            off = (logits.log_softmax(-1) - wanted.log_softmax(-1)).abs().max()
            if not float(off) < _NEAR:
                raise RuntimeError(f"it is off by {float(off):.3g} nats")
        except RuntimeError as error:
            _log.warning("steps are not recorded: %s", error)
            self._records = False
            return None
        finally:
            cache.back()
        return step


def _is_static(cache: Any) -> bool:
    return isinstance(cache, StaticKVCache)
