"""Forward passes of a transformers model, and its KV cache.

A pass can be cancelled between two layers. Logits of a whole text come in blocks of
rows, whatever the architecture does behind its last layer (scaling, soft-capping, …).
Knows no text and no sampling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from lmtui import cancellation
from lmtui.engine.backend import (
    FIRST_ROOM,
    FORK_ROOM,
    Reuse,
    chunk_for,
    float_logits,
    grown_room,
    no_layer_states,
    no_such_token,
    part_len,
)
from lmtui.engine.backends.residual_stream import ResidualStream
from lmtui.engine.token_tree import Tree
from lmtui.engine.windows import DEFAULT_WINDOW
from lmtui.models.model_info import weights_in

_MOST_TOKENS = {"cpu": 512}  # of one prefill pass, by device; more gains nothing
_GPU_TOKENS = 2048
# Arbitrary tokens for the checks of `_is_resumable` and `reads_trees`, which do not
# depend on them.
_PROBE = (1, 2, 3, 4)
_PROBES = ((1, 2), (1, 3), (1, 2, 4), (1, 3, 4))
_BLOCK_BYTES = 64 * 2**20  # limit of the float32 logits in memory at once while scoring
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}
# See `ModelBackend.extra_token_costs`. In float32 on a CPU a pass over two tokens takes
# as long as one over eight, which is less than two passes over one.
_GUESS_COSTS = (0.7,) * 7


def preallocated_cache(config: Any = None) -> DynamicCache:
    """Return an empty cache that keeps every token in every layer. With a `config`,
    layers that need another kind (sliding window, recurrent) keep the library's own."""
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
    """Growing cache layer of transformers, with memory allocated in advance.

    `keys` and `values` [n, KV, t, d] are views on the used part of it, as every mask
    and model of the library expects.
    """

    def __init__(self, spare: int = FIRST_ROOM) -> None:
        """`spare` is the least number of tokens to allocate in advance."""
        super().__init__()
        self._spare = spare
        self.allocated: tuple[Tensor, Tensor] | None = None
        """Allocated keys and values, [n, KV, room, d] each; None where `keys` and
        `values` are views on another cache's memory."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Set device, dtype and widths, with no tokens."""
        self.device = key_states.device
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Append tokens and return all keys and values [n, KV, t, d]."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache = self.keys.shape[2]
        end = cache + key_states.shape[2]
        room = 0 if self.allocated is None else self.allocated[0].shape[2]
        if self.allocated is None or end > room:
            room = grown_room(room, end, self._spare)
            self.allocated = (
                _copy_to_larger(self.keys, room),
                _copy_to_larger(self.values, room),
            )
        keys, values = self.allocated
        keys[:, :, cache:end] = key_states
        values[:, :, cache:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def fork(self, rows: int, length: int | None) -> PreallocatedLayer:
        """Return `rows` rows of the first `length` tokens of this layer: views on its
        memory, until a token is added."""
        if not self.is_initialized or length == 0:
            return PreallocatedLayer(FORK_ROOM)
        return view_of(self.keys, self.values, rows, length)

    @property
    def row_bytes(self) -> int:
        """Bytes that a row of a fork allocates with its first token."""
        if not self.is_initialized:
            return 0
        tokens = self.keys.shape[2] + 1 + FORK_ROOM
        one = (part[:1, :, :1] for part in self.allocated or (self.keys, self.values))
        return sum(token.nbytes for token in one) * tokens

    def reorder_cache(self, beam_idx: Tensor) -> None:
        if not self.is_initialized:
            return
        indices = beam_idx.to(self.keys.device, non_blocking=True)
        if self.allocated is None:
            self.keys, self.values = self.keys[indices], self.values[indices]
            return
        keys, values = self.allocated
        end = self.keys.shape[2]
        self.allocated = keys, values = keys[indices], values[indices]
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]

    def reset(self) -> None:
        self.allocated = None
        super().reset()


def view_of(
    keys: Tensor, values: Tensor, rows: int, length: int | None
) -> PreallocatedLayer:
    """Return a layer of `rows` rows that all see the first `length` tokens of one row
    [1, KV, t, d], in its memory."""
    layer = PreallocatedLayer(FORK_ROOM)
    layer.lazy_initialization(keys, values)
    layer.keys = keys[:, :, :length].expand(rows, -1, -1, -1)
    layer.values = values[:, :, :length].expand(rows, -1, -1, -1)
    return layer


def _copy_to_larger(tokens: Tensor, room: int) -> Tensor:
    """Copy keys or values [n, KV, t, d] to the beginning of new memory [n, KV, room,
    d]."""
    rows, heads, length, width = tokens.shape
    moved = tokens.new_empty(rows, heads, room, width)
    moved[:, :, :length] = tokens
    return moved


def _fork_of(layer: Any, rows: int, length: int | None) -> Any:
    """Return `rows` rows of a layer, of a layer of the library with all its tokens."""
    if isinstance(layer, PreallocatedLayer):
        return layer.fork(rows, length)
    forked = copy(layer)
    # What is kept by the number of a state; its tensors are copied with the rows.
    numbered = {k: dict(v) for k, v in vars(layer).items() if isinstance(v, dict)}
    vars(forked).update(numbered)
    forked.reorder_cache(torch.zeros(rows, dtype=torch.long))
    return forked


def _row_bytes(layer: Any) -> int:
    """Return the bytes that a row of a fork allocates, at the latest with its first
    token."""
    if isinstance(layer, PreallocatedLayer):
        return layer.row_bytes
    held = vars(layer).values()
    parts = chain.from_iterable(
        x.values() if isinstance(x, dict) else [x] for x in held
    )
    return sum(x[:1].nbytes for x in parts if isinstance(x, Tensor) and x.dim())


class TransformersKVCache:
    """KV cache of transformers, as the engine uses it.

    Layers that don't keep every token (recurrent, sliding window) are the library's:
    they can't be cropped, only copied whole.
    """

    def __init__(self, cache: DynamicCache) -> None:
        self.cache = cache

    @property
    def length(self) -> int:
        return int(self.cache.get_seq_length())

    @property
    def row_bytes(self) -> int:
        return sum(map(_row_bytes, self.cache.layers))

    def crop(self, length: int) -> None:
        for layer in self.cache.layers:
            if isinstance(layer, PreallocatedLayer):
                layer.crop(min(0, length - layer.get_seq_length()))

    def fork(self, rows: int, length: int | None = None) -> TransformersKVCache:
        return self._of([_fork_of(layer, rows, length) for layer in self.cache.layers])

    def with_states(self, other: TransformersKVCache) -> TransformersKVCache:
        pairs = zip(self.cache.layers, other.cache.layers, strict=True)
        return self._of(
            [a if isinstance(a, PreallocatedLayer) else b for a, b in pairs]
        )

    @staticmethod
    def _of(layers: Sequence[Any]) -> TransformersKVCache:
        cache = preallocated_cache()
        cache.layers += layers
        return TransformersKVCache(cache)

    def select_rows(self, rows: Sequence[int]) -> None:
        for layer in self.cache.layers:
            layer.reorder_cache(torch.tensor(rows))


def _cancel_pass(*_: object) -> None:
    """Cancel a pass, as a hook before each layer."""
    cancellation.check()


class TransformersBackend:
    """Forward passes through transformers; see `base.ModelBackend` for each method's
    contract."""

    extra_token_costs: tuple[float, ...] = _GUESS_COSTS
    top_logprobs = None
    is_remote = False

    def __init__(self, model: Any) -> None:
        self.model = model
        decoder = model.get_decoder()
        self._decoder: nn.Module | None = None if decoder is model else decoder
        """The layers without the head; None where they can't be told apart."""
        layers = self._layers = _layers(model)
        for layer in layers:
            # Once for a model, which can have several backends: in a training, each
            # evaluation has its own. None is removed, which could be during a pass.
            if _cancel_pass not in layer._forward_pre_hooks.values():
                layer.register_forward_pre_hook(_cancel_pass)
        kind = model.device.type
        vocabulary = model.config.get_text_config().vocab_size
        self._known_tokens = model.get_input_embeddings().num_embeddings
        self.block_rows = max(16, _BLOCK_BYTES // (4 * vocabulary))
        self.prefill_chunk = _MOST_TOKENS.get(kind, _GPU_TOKENS)
        """Most prompt tokens of one prefill pass."""
        if kind == "cpu":
            weights = sum(map(weights_in, layers))
            per_layer = weights // max(len(layers), 1)
            self.prefill_chunk = chunk_for(per_layer, self.prefill_chunk)
        attends = _layer_kinds(model) <= _ATTENTION
        self.reuse = Reuse.ANY_PREFIX if attends else Reuse.CHECKPOINTS
        if not attends and not self._is_resumable():
            self.reuse = Reuse.NOTHING

    def _is_resumable(self) -> bool:
        """Return whether a recurrent model computes the same in two parts as in one."""
        cache, half = self.new_cache(), len(_PROBE) // 2
        self.logits(_PROBE[:half], cache)
        parts = self.logits(_PROBE[half:], cache)
        difference = parts.log_softmax(-1) - self.logits(_PROBE).log_softmax(-1)
        return float(difference.abs().max()) < 0.01

    def new_cache(self) -> TransformersKVCache:
        # Without the config, the cache keeps all tokens of sliding-window layers. The
        # attention mask still limits the window, and any number of tokens can be
        # removed.
        attention = self.reuse is Reuse.ANY_PREFIX
        return TransformersKVCache(
            preallocated_cache(None if attention else self.model.config)
        )

    def _inputs(self, ids: Sequence[int]) -> Tensor:
        if (largest := max(ids, default=0)) >= self._known_tokens:
            raise no_such_token(largest)
        return self._on_device([list(ids)])  # [1, n]

    def _on_device(self, numbers: Sequence[Any]) -> Tensor:
        """Return integers as a tensor on the model's device, without waiting for it."""
        return torch.tensor(numbers).to(self.model.device, non_blocking=True)

    def logits(
        self,
        ids: Sequence[int],
        cache: TransformersKVCache | None = None,
        *,
        keep: int = 1,
    ) -> Tensor:
        with torch.inference_mode():
            output = self.model(
                input_ids=self._inputs(ids),
                cache=cache and cache.cache,
                use_cache=cache is not None,
                logits_to_keep=keep,
            )
            return float_logits(output.logits[0, -keep:])

    def next_logits(self, tokens: Sequence[int], cache: TransformersKVCache) -> Tensor:
        inputs = self._on_device([[t] for t in tokens])  # [n, 1]
        with torch.inference_mode():
            output = self.model(input_ids=inputs, cache=cache.cache, use_cache=True)
            return float_logits(output.logits[:, -1])

    def hidden_states(
        self,
        ids: Sequence[int],
        cache: TransformersKVCache | None = None,
        *,
        keep: int = 1,
    ) -> Tensor:
        """States [keep, width] after the last `keep` of `ids`: the input of `head`.

        They are the output of the last layer; the logits themselves where the layers
        can't be told apart from the head.
        """
        if not self._layers_output_type:
            return self.logits(ids, cache, keep=keep)
        assert self._decoder is not None
        with torch.inference_mode():
            output = self._decoder(
                input_ids=self._inputs(ids),
                cache=cache and cache.cache,
                use_cache=cache is not None,
            )
        states: Tensor = output.last_hidden_state[0, -keep:]
        return states.clone()  # the others need not stay in memory

    def hidden_states_after(
        self, paths: Sequence[Sequence[int]], cache: TransformersKVCache
    ) -> Tensor:
        longest = max(map(len, paths))
        # Attention is causal: padding behind a path changes none of its states.
        filled = [[*path, *[0] * (longest - len(path))] for path in paths]
        states = self._batch(self._on_device(filled), cache)  # [n, longest, width]
        last = self._on_device([len(path) - 1 for path in paths])
        return states[self._on_device(range(len(paths))), last]

    def hidden_states_tree(self, tree: Tree, cache: TransformersKVCache) -> Tensor:
        before = cache.length
        # 1 where a tree token attends to a cached or a tree token: [n, before + n]
        seen = torch.cat([torch.ones(len(tree.ids), before), tree.seen], 1)
        mask = (1 - seen).to(self.model.device, self.model.dtype, non_blocking=True)
        states = self._batch(
            self._on_device([tree.ids]),
            cache,
            attention_mask=(mask * torch.finfo(mask.dtype).min)[None, None],
            position_ids=self._on_device([tree.depths]) + before,
        )
        return states[0]

    def _batch(
        self,
        inputs: Tensor,
        cache: TransformersKVCache,
        **masked: Tensor,
    ) -> Tensor:
        """States [n, length, width] after every token of inputs [n, length]."""
        asked = {"input_ids": inputs, "cache": cache.cache, "use_cache": True, **masked}
        with torch.inference_mode():
            if self._layers_output_type and self._decoder is not None:
                states: Tensor = self._decoder(**asked).last_hidden_state
                return states
            return float_logits(self.model(**asked).logits)

    @cached_property
    def reads_trees(self) -> bool:
        """Whether `hidden_states_tree` gives the states that the tree's paths have on
        their own. False for sliding windows, and for models that derive positions from
        the order of tokens."""
        config = self.model.config.get_text_config()
        is_full = _layer_kinds(self.model) == {"full_attention"}
        if not is_full or getattr(config, "sliding_window", None):
            return False
        cache = TransformersKVCache(preallocated_cache())
        tree = Tree.of([path[1:] for path in _PROBES])
        try:
            self.hidden_states(_PROBES[0][:1], cache)
            states = self.hidden_states_tree(tree, cache)
            together = self.head(states[self._on_device(tree.places)])
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
            return False
        single = torch.cat([self.logits(path) for path in _PROBES])
        difference = together.log_softmax(-1) - single.log_softmax(-1)
        return float(difference.abs().max()) < 0.01

    def layer_states(
        self,
        ids: Sequence[int],
        cache: TransformersKVCache | None = None,
        *,
        keep: int = 1,
    ) -> Tensor:
        stream = self._residual_stream
        if isinstance(stream, str):
            raise no_layer_states(f"{type(self.model).__name__}: {stream}")
        with stream.recorded(keep) as entered:
            last = self.hidden_states(ids, cache, keep=keep)
        return torch.stack([*entered, last], 1)

    @cached_property
    def _residual_stream(self) -> ResidualStream | str:
        """What passes from layer to layer; where that can't be seen, the reason."""
        if not self._layers_output_type:
            return "the head can't be told apart from the layers"

        def run() -> Tensor:
            return self.hidden_states(_PROBE, keep=len(_PROBE))

        try:
            return ResidualStream(self.model, self._layers, run)
        except ValueError as error:
            return str(error)

    def head(self, states: Tensor) -> Tensor:
        if not self._layers_output_type:
            return states
        hidden = states.unsqueeze(0)
        inputs = self._inputs([0] * len(states))
        output = self._layers_output_type(last_hidden_state=hidden)
        with torch.inference_mode(), self._with_hidden_states(output, hidden):
            block = self.model(input_ids=inputs, use_cache=False)
        return float_logits(block.logits[0])

    @cached_property
    def _layers_output_type(self) -> type[Any] | None:
        """Type of the output that the layers return to the head; None where the model
        does not call its layers as one module."""
        if self._decoder is None:
            return None
        inputs = self._inputs([0])
        with torch.inference_mode():
            output = self._decoder(input_ids=inputs, use_cache=False)
            with self._with_hidden_states(output, output.last_hidden_state) as used:
                self.model(input_ids=inputs, use_cache=False)
        return type(output) if used else None

    def all_logits(self, ids: Sequence[int], *, skip: int = 0) -> Iterator[Tensor]:
        """Yield the logits after each of `ids` but the first `skip`, in blocks [rows,
        V].

        The layers run once over all tokens, a long text in parts; the head runs on one
        block at a time.
        """
        if skip >= len(ids):
            return
        if not self._layers_output_type:
            yield from self._all_logits_at_once(self._inputs(ids), skip)
            return
        most = len(ids) if self.reuse is Reuse.NOTHING else DEFAULT_WINDOW
        cache = self.new_cache() if len(ids) > most else None
        start = 0
        while left := len(ids) - start:
            count = part_len(left, most)
            part = ids[start : start + count]
            states = self.hidden_states(part, cache, keep=count)
            for first in range(max(0, skip - start), count, self.block_rows):
                yield self.head(states[first : first + self.block_rows])
            start += count

    def _all_logits_at_once(self, inputs: Tensor, skip: int) -> Iterator[Tensor]:
        """Yield blocks of logits that are computed at once: memory grows with tokens ×
        vocabulary."""
        with torch.inference_mode():
            output = self.model(input_ids=inputs, use_cache=False)
        for block in torch.split(output.logits[0, skip:], self.block_rows):
            yield float_logits(block)

    @contextmanager
    def _with_hidden_states(self, output: Any, hidden: Tensor) -> Iterator[list[bool]]:
        """Make the layers return `hidden` at once, so that a call of the model runs the
        head alone.

        The yielded list is empty until the layers are called.
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


def _layer_kinds(model: Any) -> set[str]:
    config = model.config.get_text_config()
    return set(getattr(config, "layer_types", None) or ["full_attention"])


def _layers(model: Any) -> list[nn.Module]:
    """Return the decoder layers: the first module list as long as the model is deep."""
    depth = model.config.get_text_config().num_hidden_layers
    lists = (m for m in model.modules() if isinstance(m, nn.ModuleList))
    return next((list(m) for m in lists if len(m) == depth), [])
