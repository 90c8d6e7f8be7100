"""LoRA adapters beside the weights of the Llama backend: W x + scale · B (A x).

(Low-rank adaptation: Hu et al. 2021.) An adapter with anything unusual is not put here;
it is merged into the transformers model, which also explains what is wrong with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from lmtui.models.adapters import lora_config
from lmtui.models.adapters.folders import Adapter
from lmtui.models.llama.families import Naming
from lmtui.models.llama.linear import BlockLinear, MatrixRows
from lmtui.models.llama.weights import (
    LlamaWeights,
    input_projection,
    matrices_of,
    value_order,
)

_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_Pair = tuple[Tensor, Tensor]


class UnsupportedLora(Exception):
    """Raised with the reason why an adapter can't be put beside the weights."""


def add_lora(weights: LlamaWeights, adapter: Adapter) -> LlamaWeights:
    """Return the weights with the adapter beside them.

    Raises:
        UnsupportedLora: it is not a plain LoRA adapter, or does not fit the model.
        LmtuiError: its configuration is damaged or not supported.
    """
    pairs, shape = pairs_of(adapter), weights.shape
    naming, used = Naming.transformers(shape.model_type), set()
    layers = list(weights.layers)
    for index, layer in enumerate(layers):
        changed: dict[str, Any] = {}
        for name, parts in matrices_of(shape, naming, index).items():
            used |= {_module(part) for part in parts}
            columns, mixes = None, layer.recurrent
            if name == "o_proj" and mixes and mixes.is_tiled:
                columns = value_order(shape, naming, mixes.widths[1])
            both = [(pairs.get(_module(part)), part) for part in parts]
            changed[name] = _stacked(getattr(layer, name), both, columns)
        layers[index] = replace(layer, **changed)
    if (inputs := weights.inputs) is not None:
        part = input_projection(shape, naming)
        used.add(_module(part))
        both = [(pairs.get(_module(part)), part)]
        changed_inputs = _stacked(inputs.projection, both, None)
        inputs = replace(inputs, projection=changed_inputs)
    if more := pairs.keys() - used:
        raise UnsupportedLora(f"it changes {', '.join(sorted(more))}")
    return replace(weights, layers=tuple(layers), inputs=inputs)


def _module(part: MatrixRows) -> str:
    return part.name.removesuffix(".weight")


def pairs_of(adapter: Adapter) -> dict[str, _Pair]:
    """Return A [r, K] and scale · B [N, r] of an adapter, by transformers' name of the
    module that they change.

    Raises:
        UnsupportedLora: it is not a plain LoRA adapter.
        LmtuiError: its configuration is damaged or not supported.
    """
    from safetensors.torch import load_file

    asked = lora_config.read_lora(adapter.path)
    if asked.rank_pattern or asked.alpha_pattern or asked.fan_in_fan_out:
        raise UnsupportedLora("its matrices are scaled one by one")
    root = math.sqrt(asked.r) if asked.use_rslora else asked.r
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
        pairs[module] = a, asked.lora_alpha / root * b
    return pairs


def _stacked(
    matrix: BlockLinear,
    parts: Sequence[tuple[_Pair | None, MatrixRows]],
    columns: Tensor | None,
) -> BlockLinear:
    """Add one adapter to a matrix whose parts are stacked: A is stacked along the
    ranks, B is block-diagonal. `columns` are the adapter's columns of the matrix's, if
    these are in another order."""
    changes = [pair for pair, _ in parts if pair is not None]
    if not changes:
        return matrix
    first = torch.cat([a for a, _ in changes])  # [Σ r, K]
    second = torch.zeros(matrix.rows, len(first))
    row = column = 0
    for pair, part in parts:
        order = torch.arange(part.rows) if part.order is None else part.order
        if pair is not None:
            of_part, rank = pair[1], pair[1].shape[1]
            if len(of_part) != part.rows:
                raise UnsupportedLora(
                    f"it changes {len(of_part)} rows, the model has {part.rows}"
                )
            second[row : row + len(order), column : column + rank] = of_part[order]
            column += rank
        row += len(order)
    if first.shape[1] != matrix.columns:
        raise UnsupportedLora(
            f"it reads {first.shape[1]} numbers, the model {matrix.columns}"
        )
    first = first if columns is None else first[:, columns].contiguous()
    return matrix.with_lora(first, second)
