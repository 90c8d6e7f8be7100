"""One forward pass of a transformers model: stoppable, and never all logits at once.

Owns how the model is called, what its cache is to the rest of the engine, and what of
it can be reused: a pass can be stopped between two of its layers, and
the logits of a whole text come in blocks of rows, whatever the architecture does
behind its last layer (scaling, soft-capping, …). Knows no text and no sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lmtui.engine.backends.base import Reuse, T, answered, chunk_for
from lmtui.engine.protocol import Stop
from lmtui.engine.token_tree import Tree
from lmtui.errors import Cancelled
from lmtui.models.model_info import weights_in

_FIRST = 256  # tokens that room is taken for in advance, at first
_OWN = 32  # the same, in rows that continue others; each time it is twice as much


def slab_cache(config: Any = None) -> DynamicCache:
    """A cache that keeps every token in as many layers as ask for it; or, for a
    configuration some of whose layers do otherwise, one that has those as they are."""
    if config is None:
        cache = DynamicCache()
        cache.layer_class_to_replicate = PreallocatedLayer
        return cache
    cache = DynamicCache(config=config)
    cache.layers = [
        PreallocatedLayer() if type(layer) is DynamicLayer else layer
        for layer in cache.layers
    ]
    return cache


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]
    """As the library's layer that grows, which every mask and model knows; `keys` and
    `values` [n, KV, t, d] are the part of the slabs that is in use."""

    def __init__(self, spare: int = _FIRST) -> None:
        """`spare` is the number of tokens to take memory in advance for."""
        super().__init__()
        self._spare = spare
        self._slabs: tuple[Tensor, Tensor] | None = None
        """[n, KV, room, d] each; None where `keys` and `values` are not its own."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Hold no tokens of this kind."""
        self.device = key_states.device
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Add tokens; all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held = self.keys.shape[2]
        end = held + key_states.shape[2]
        if self._slabs is None or end > self._slabs[0].shape[2]:
            self._slabs = self._slab(self.keys, end), self._slab(self.values, end)
            self._spare *= 2
        keys, values = self._slabs
        keys[:, :, held:end] = key_states
        values[:, :, held:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def _slab(self, held: Tensor, tokens: int) -> Tensor:
        """Room for so many tokens and more, with those that are held."""
        rows, heads, length, width = held.shape
        slab = held.new_empty(rows, heads, tokens + self._spare, width)
        slab[:, :, :length] = held
        return slab

    def fork(self, rows: int, length: int | None) -> PreallocatedLayer:
        """So many rows, each with the first `length` tokens of this one; their memory
        is this one's until a token is added to them."""
        forked = PreallocatedLayer(_OWN)
        if self.is_initialized:
            forked.lazy_initialization(self.keys, self.values)
            forked.keys = self.keys[:, :, :length].expand(rows, -1, -1, -1)
            forked.values = self.values[:, :, :length].expand(rows, -1, -1, -1)
        return forked

    @property
    def row_bytes(self) -> int:
        """Bytes of memory that a row of a fork takes with its first token."""
        if not self.is_initialized:
            return 0
        tokens = self.keys.shape[2] + 1 + _OWN
        one = (each[:1, :, :1] for each in self._slabs or (self.keys, self.values))
        return sum(token.nbytes for token in one) * tokens

    def batch_select_indices(self, indices: Sequence[int]) -> None:
        """Hold these rows alone."""
        if self._slabs is None:
            if self.is_initialized:
                self.keys, self.values = self.keys[indices], self.values[indices]
            return
        keys, values = self._slabs
        end = self.keys.shape[2]
        self._slabs = keys, values = keys[indices], values[indices]
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]

    def reset(self) -> None:
        """Hold nothing, and no memory."""
        self._slabs = None
        super().reset()


_MOST_TOKENS = {"cpu": 512}  # of one pass over a part of a prompt; larger gains nothing
_GPU_TOKENS = 2048
_PROBE = (1, 2, 3, 4)  # any tokens: whether a model can go on does not depend on them
_PROBES = ((1, 2), (1, 3), (1, 2, 4), (1, 3, 4))
_BLOCK_BYTES = 64 * 2**20  # of float32 logits in memory at once while scoring


_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
_GUESS_COSTS = (0.7,) * 7
# In float32 on a CPU a pass over two tokens takes as long as one over eight, and that
# is less than two passes over one.
_PACKED_COSTS = (0.4, 0.48, 0.55, 0.7, 0.85, 0.98, 1.1)


class TransformersKVCache:
    """The library's cache."""

    def __init__(self, cache: DynamicCache) -> None:
        self.cache = cache

    @property
    def length(self) -> int:
        """Tokens of a row."""
        return int(self.cache.get_seq_length())

    @property
    def row_bytes(self) -> int:
        """Bytes of memory that each row of a fork takes, in the beginning."""
        return sum(layer.row_bytes for layer in self.cache.layers)

    def crop(self, length: int) -> None:
        """Hold the first `length` tokens alone, in every layer."""
        for layer in self.cache.layers:
            layer.crop(min(0, length - layer.get_seq_length()))

    def fork(self, rows: int, length: int | None = None) -> TransformersKVCache:
        """So many rows, each holding what this one holds, or a part of it."""
        forked = slab_cache()
        forked.layers += [layer.fork(rows, length) for layer in self.cache.layers]
        return TransformersKVCache(forked)

    def keep_rows(self, rows: Sequence[int]) -> None:
        """Hold these rows alone."""
        for layer in self.cache.layers:
            layer.batch_select_indices(rows)


class TransformersBackend:
    """A model of transformers; see `forward.Forward` for what each verb promises."""

    guess_costs: tuple[float, ...] = _GUESS_COSTS

    def __init__(self, model: Any) -> None:
        self.model = model
        decoder = model.get_decoder()
        self._decoder: nn.Module | None = None if decoder is model else decoder
        """The layers without the head; None where they can't be told apart."""
        self._stop: Stop | None = None
        layers = _layers(model)
        for layer in layers:
            layer.register_forward_pre_hook(self._look_at_stop)
        kind = model.device.type
        vocabulary = model.config.get_text_config().vocab_size
        self._block_rows = max(16, _BLOCK_BYTES // (4 * vocabulary))
        self.chunk = _MOST_TOKENS.get(kind, _GPU_TOKENS)
        """Most prompt tokens for one pass."""
        if kind == "cpu":
            weights = sum(map(weights_in, layers))
            self.chunk = chunk_for(weights // max(len(layers), 1), self.chunk)
            if weights > sum(p.numel() for layer in layers for p in layer.parameters()):
                self.guess_costs = _PACKED_COSTS
        kinds = set(
            getattr(model.config.get_text_config(), "layer_types", None)
            or ["full_attention"]
        )
        self.reuse = Reuse.ANY_PREFIX if kinds <= _ATTENTION else Reuse.WHOLE
        if self.reuse is Reuse.WHOLE and not self._goes_on():
            self.reuse = Reuse.NOTHING

    def _goes_on(self) -> bool:
        """Whether a recurrent model answers the same in two parts as in one."""
        held, half = self.hold(), len(_PROBE) // 2
        self.logits(_PROBE[:half], held)
        parts = self.logits(_PROBE[half:], held)
        difference = parts.log_softmax(-1) - self.logits(_PROBE).log_softmax(-1)
        return float(difference.abs().max()) < 0.01

    def answering(self, answer: Iterator[T]) -> Iterator[T]:
        """Pass an answer on, as it is."""
        return answer

    def hold(self) -> TransformersKVCache:
        """What holds nothing yet."""
        # Built without the config, a cache keeps sliding-window layers whole: the
        # mask still limits what they see, and any number of tokens can be taken back.
        attention = self.reuse is Reuse.ANY_PREFIX
        return TransformersKVCache(slab_cache(None if attention else self.model.config))

    def _look_at_stop(self, *_: object) -> None:
        if self._stop is not None and self._stop():
            raise Cancelled

    @contextmanager
    def _stoppable(self, stop: Stop | None) -> Iterator[None]:
        self._stop = stop
        try:
            with torch.inference_mode():
                yield
        finally:
            self._stop = None

    def _inputs(self, ids: Sequence[int]) -> Tensor:
        inputs = torch.tensor([list(ids)])  # [1, n]
        return inputs.to(self.model.device, non_blocking=True)

    def logits(
        self,
        ids: Sequence[int],
        held: TransformersKVCache | None = None,
        *,
        keep: int = 1,
        stop: Stop | None = None,
    ) -> Tensor:
        """Logits [keep, V] after the last `keep` of `ids`."""
        with self._stoppable(stop):
            output = self.model(
                input_ids=self._inputs(ids),
                cache=held and held.cache,
                use_cache=held is not None,
                logits_to_keep=keep,
            )
            return answered(output.logits[0, -keep:])

    def next_logits(
        self,
        tokens: Sequence[int],
        held: TransformersKVCache,
        *,
        stop: Stop | None = None,
    ) -> Tensor:
        """Logits [n, V] after one more token for each of the n rows."""
        inputs = torch.tensor([[t] for t in tokens], device=self.model.device)  # [n, 1]
        with self._stoppable(stop):
            output = self.model(input_ids=inputs, cache=held.cache, use_cache=True)
            return answered(output.logits[:, -1])

    def states(
        self,
        ids: Sequence[int],
        held: TransformersKVCache | None = None,
        *,
        keep: int = 1,
        stop: Stop | None = None,
    ) -> Tensor:
        """What `head` makes the logits of, after the last `keep` of `ids`.

        That is the output of the last layer; the logits themselves where the layers
        can't be told apart from the head.
        """
        if not self._apart:
            return self.logits(ids, held, keep=keep, stop=stop)
        assert self._decoder is not None
        with self._stoppable(stop):
            output = self._decoder(
                input_ids=self._inputs(ids),
                cache=held and held.cache,
                use_cache=held is not None,
            )
        states: Tensor = output.last_hidden_state[0, -keep:]
        return states.clone()  # the others need not stay in memory

    def states_after(
        self,
        paths: Sequence[Sequence[int]],
        held: TransformersKVCache,
        *,
        stop: Stop | None = None,
    ) -> Tensor:
        """States [n, width] after each of n paths."""
        longest = max(map(len, paths))
        # No token sees those after it: what a path is filled up with is of no effect.
        filled = [[*path, *[0] * (longest - len(path))] for path in paths]
        inputs = torch.tensor(filled, device=self.model.device)  # [n, longest]
        last = [len(path) - 1 for path in paths]
        return self._batch(inputs, held, stop)[range(len(paths)), last]

    def states_in(
        self, tree: Tree, held: TransformersKVCache, *, stop: Stop | None = None
    ) -> Tensor:
        """States [n, width] after each token of a tree."""
        device, before = self.model.device, held.length
        seen = torch.cat([torch.ones(len(tree.ids), before), tree.seen], 1)
        mask = (1 - seen).to(device, self.model.dtype)
        inputs = torch.tensor([tree.ids], device=device)
        states = self._batch(
            inputs,
            held,
            stop,
            attention_mask=(mask * torch.finfo(mask.dtype).min)[None, None],
            position_ids=torch.tensor([tree.depths], device=device) + before,
        )
        return states[0]

    def _batch(
        self,
        inputs: Tensor,
        held: TransformersKVCache,
        stop: Stop | None,
        **masked: Tensor,
    ) -> Tensor:
        """States [n, length, width] after every token of inputs [n, length]."""
        asked = {"input_ids": inputs, "cache": held.cache, "use_cache": True, **masked}
        with self._stoppable(stop):
            if self._apart and self._decoder is not None:
                states: Tensor = self._decoder(**asked).last_hidden_state
                return states
            return answered(self.model(**asked).logits)

    @cached_property
    def reads_trees(self) -> bool:
        """Whether the states in a tree are those after its paths: not where a layer
        looks back a limited way, nor where tokens are placed by their order."""
        config = self.model.config.get_text_config()
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"} or getattr(config, "sliding_window", None):
            return False
        held = TransformersKVCache(slab_cache())
        tree = Tree.of([path[1:] for path in _PROBES])
        try:
            self.states(_PROBES[0][:1], held)
            found = self.head(self.states_in(tree, held)[tree.places])
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            return False
        single = torch.cat([self.logits(path) for path in _PROBES])
        difference = found.log_softmax(-1) - single.log_softmax(-1)
        return float(difference.abs().max()) < 0.01

    def head(self, states: Tensor) -> Tensor:
        """Logits [n, V], float32, of n states."""
        if not self._apart:
            return states
        hidden = states.unsqueeze(0)
        inputs = self._inputs([0] * len(states))
        output = self._apart(last_hidden_state=hidden)
        with self._stoppable(None), self._replaced(output, hidden):
            block = self.model(input_ids=inputs, use_cache=False)
        return answered(block.logits[0])

    @cached_property
    def _apart(self) -> type[Any] | None:
        """The kind of answer that the layers give to the head; None where they are
        not called as one part."""
        if self._decoder is None:
            return None
        inputs = self._inputs([0])
        with self._stoppable(None):
            output = self._decoder(input_ids=inputs, use_cache=False)
            with self._replaced(output, output.last_hidden_state) as used:
                self.model(input_ids=inputs, use_cache=False)
        return type(output) if used else None

    def all_logits(
        self, ids: Sequence[int], *, skip: int = 0, stop: Stop | None = None
    ) -> Iterator[Tensor]:
        """Logits after every one of `ids` but the first `skip`, in blocks.

        The layers run once; the head runs a block at a time.
        """
        if skip >= len(ids):
            return
        inputs = self._inputs(ids)
        if self._decoder is None:
            yield from self._whole(inputs, skip, stop)
            return
        with self._stoppable(stop):
            output = self._decoder(input_ids=inputs, use_cache=False)
        hidden = output.last_hidden_state  # [1, n, width]
        for start in range(skip, len(ids), self._block_rows):
            part = slice(start, start + self._block_rows)
            with self._stoppable(stop), self._replaced(output, hidden[:, part]) as used:
                block = self.model(input_ids=inputs[:, part], use_cache=False)
            if not used:  # this architecture calls its layers some other way
                self._decoder = None
                yield from self._whole(inputs, start, stop)
                return
            yield answered(block.logits[0])

    def _whole(self, inputs: Tensor, skip: int, stop: Stop | None) -> Iterator[Tensor]:
        """All logits at once, as blocks: memory grows with tokens × vocabulary."""
        with self._stoppable(stop):
            output = self.model(input_ids=inputs, use_cache=False)
        for block in torch.split(output.logits[0, skip:], self._block_rows):
            yield answered(block)

    @contextmanager
    def _replaced(self, output: Any, hidden: Tensor) -> Iterator[list[bool]]:
        """Let the layers answer `hidden` at once: what then runs is the head alone.

        The list is empty until they are asked.
        """
        answer = type(output)(**{**output, "last_hidden_state": hidden})
        used: list[bool] = []

        def forward(*_: Any, **__: Any) -> Any:
            used.append(True)
            return answer

        assert self._decoder is not None
        self._decoder.forward = forward
        try:
            yield used
        finally:
            del self._decoder.forward


def _layers(model: Any) -> list[nn.Module]:
    """The model's decoder layers: its longest list of equal depth."""
    depth = model.config.get_text_config().num_hidden_layers
    lists = (m for m in model.modules() if isinstance(m, nn.ModuleList))
    return next((list(m) for m in lists if len(m) == depth), [])
