"""LoRA adapters beside the weights of the Llama backend: W x + scale · B (A x).

(Low-rank adaptation: Hu et al. 2021.) An adapter with anything unusual is not put here;
it is merged into the transformers model, which also explains what is wrong with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lmtui.models.adapters import lora_config
from lmtui.models.adapters.folders import Adapter
from lmtui.models.llama.linear import BlockLinear
from lmtui.models.llama.weights import (
    LIBRARY,
    DecoderLayer,
    LlamaConfig,
    LlamaWeights,
    order_of,
)

_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_OF_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")
_Pair = tuple[Tensor, Tensor]


class UnsupportedLora(Exception):
    """Raised with the reason why an adapter can't be put beside the weights."""


def add_lora(weights: LlamaWeights, adapter: Adapter) -> LlamaWeights:
    """Return the weights with the adapter beside them.

    Raises:
        UnsupportedLora: it is not a plain LoRA adapter, or does not fit the model.
        LmtuiError: its configuration is damaged or not supported.
    """
    pairs = {}
    for module, pair in pairs_of(adapter).items():
        if (place := _OF_LAYER.fullmatch(module)) is None:
            raise UnsupportedLora(f"it changes {module}")
        pairs[int(place[1]), place[2]] = pair
    layers = list(weights.layers)
    for index, layer in enumerate(layers):
        own = {name: pair for (at, name), pair in pairs.items() if at == index}
        layers[index] = _with_adapter(layer, own, weights.shape)
    if any(at >= len(layers) for at, _ in pairs):
        raise UnsupportedLora("it has more layers than the model")
    return replace(weights, layers=tuple(layers))


def pairs_of(adapter: Adapter) -> dict[str, _Pair]:
    """Return A [r, K] and scale · B [N, r] of an adapter, by transformers' name of the
    module that they change.

    Raises:
        UnsupportedLora: it is not a plain LoRA adapter.
        LmtuiError: its configuration is damaged or not supported.
    """
    from safetensors.torch import load_file

    asked = lora_config.read_lora(adapter.path)
    if asked.ranks or asked.alphas or asked.transposed:
        raise UnsupportedLora("its matrices are scaled one by one")
    root = math.sqrt(asked.rank) if asked.rank_stabilised else asked.rank
    by_module: dict[str, dict[str, Tensor]] = {}
    try:
        tensors = load_file(adapter.path / lora_config.WEIGHTS)
    except Exception as error:  # `adapters/merge` explains what is wrong
        raise UnsupportedLora("its weights can't be read") from error
    for key, tensor in tensors.items():
        parts = _KEY.fullmatch(key)
        if parts is None or not bool(tensor.isfinite().all()):
            raise UnsupportedLora(f"it changes {key}")
        by_module.setdefault(parts[1], {})[parts[2]] = tensor.float()
    pairs = {}
    for module, both in by_module.items():
        a, b = both.get("A"), both.get("B")
        if a is None or b is None or a.shape[:1] != b.shape[1:]:
            raise UnsupportedLora("its matrices don't fit each other")
        pairs[module] = a, asked.alpha / root * b
    return pairs


def _with_adapter(
    layer: DecoderLayer, pairs: dict[str, _Pair], shape: LlamaConfig
) -> DecoderLayer:
    sizes = {
        "q": shape.heads * shape.head_dim,
        "k": shape.kv_heads * shape.head_dim,
        "v": shape.kv_heads * shape.head_dim,
        "out": shape.width,
        "gate": shape.ffn,
        "up": shape.ffn,
        "down": shape.width,
    }
    known = {LIBRARY[name]: name for name in sizes}
    if not pairs.keys() <= known.keys():
        raise UnsupportedLora(f"it changes {', '.join(pairs.keys() - known.keys())}")
    by_name = {known[name]: pair for name, pair in pairs.items()}
    for name, heads in (("q", shape.heads), ("k", shape.kv_heads)):
        if name in by_name:
            a, b = by_name[name]
            _require_rows(b, sizes[name])
            by_name[name] = a, b[order_of(heads, shape.head_dim, half_split_rope=True)]

    def part(matrix: BlockLinear, *names: str) -> BlockLinear:
        return _stacked(matrix, [(by_name.get(name), sizes[name]) for name in names])

    return replace(
        layer,
        qkv=part(layer.qkv, "q", "k", "v"),
        o_proj=part(layer.o_proj, "out"),
        gate_up=part(layer.gate_up, "gate", "up"),
        down=part(layer.down, "down"),
    )


def _stacked(
    matrix: BlockLinear, parts: Sequence[tuple[_Pair | None, int]]
) -> BlockLinear:
    """Add one adapter to a matrix whose parts are stacked: A is stacked along the
    ranks, B is block-diagonal."""
    pairs = [(pair, rows) for pair, rows in parts if pair is not None]
    if not pairs:
        return matrix
    first = torch.cat([pair[0] for pair, _ in pairs])  # [Σ r, K]
    second = torch.zeros(sum(rows for _, rows in parts), len(first))
    row = column = 0
    for pair, rows in parts:
        if pair is not None:
            _require_rows(pair[1], rows)
            rank = pair[1].shape[1]
            second[row : row + rows, column : column + rank] = pair[1]
            column += rank
        row += rows
    if first.shape[1] != matrix.columns:
        raise UnsupportedLora(
            f"it reads {first.shape[1]} numbers, the model {matrix.columns}"
        )
    return matrix.with_lora(first, second)


def _require_rows(matrix: Tensor, rows: int) -> None:
    if matrix.shape[0] != rows:
        raise UnsupportedLora(
            f"it changes {matrix.shape[0]} rows, the model has {rows}"
        )
