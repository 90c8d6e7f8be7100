"""LoRA adapters beside the blocks of a model of transformers: W x + scale · B (A x).
They are added to what is held as numbers."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from lmtui.models.adapters.folders import Adapter
from lmtui.models.blocks.modules import GgufEmbedding, GgufExperts, GgufLinear
from lmtui.models.llama.linear import BlockLinear
from lmtui.models.llama.lora import UnsupportedLora, pairs_of


def with_lora(model: Any, adapter: Adapter) -> Any:
    """Return a model with an adapter beside its blocks. The two share their weights.

    Raises:
        UnsupportedLora: the adapter changes what does not lie in blocks.
        LmtuiError: its configuration is damaged or not supported.
    """
    shared: list[Any] = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        if isinstance(module, GgufLinear):
            shared.append(module.product)
        elif isinstance(module, GgufEmbedding | GgufExperts):
            shared.append(module)
    twin = copy.deepcopy(model, {id(each): each for each in shared})
    for path, (first, second) in pairs_of(adapter).items():
        try:
            module = twin.get_submodule(path)
        except AttributeError as error:
            raise UnsupportedLora(f"the model has no {path}") from error
        product = getattr(module, "product", None)
        if isinstance(module, nn.Linear) and (
            module.weight.shape == (len(second), first.shape[1])
        ):  # small, and held
            module.weight = nn.Parameter(module.weight + second @ first, False)
            continue
        if not isinstance(product, BlockLinear):
            raise UnsupportedLora(f"it changes {path}")
        if (first.shape[1], len(second)) != (product.columns, product.rows):
            raise UnsupportedLora(f"its matrices do not fit {path}")
        if module.order is not None:  # inputs come in the file's order
            first = first[:, module.order]
        module.product = product.with_lora(first.contiguous(), second.contiguous())
    return twin
