"""A model of a base's kind whose weights are random: how every language model begins.

Owns its shape and how large the first weights are. Knows nothing of training.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from lmtui.errors import LmtuiError
from lmtui.models.quiet import quiet
from lmtui.train.settings import TrainSettings

_LARGEST = 0.02  # standard deviation of first weights in common use
_MARGIN = 2.5  # nats below ln V that a token's product with itself stays


def random_model(config: Any, settings: TrainSettings) -> Any:
    """A model like that of `config`, in other sizes where they are given; the same
    weights for the same seed.

    Raises:
        LmtuiError: the width can't be divided among the heads.
    """
    from transformers import AutoModelForCausalLM

    shaped = resized(config, layers=settings.layers, width=settings.width)
    torch.manual_seed(settings.seed)
    with quiet():
        return AutoModelForCausalLM.from_config(shaped, dtype=torch.float32)


def resized(config: Any, *, layers: int | None, width: int | None) -> Any:
    """A copy of a configuration with other sizes; what depends on them follows.

    Raises:
        LmtuiError: the width can't be divided among the heads.
    """
    values = config.to_dict()
    changes: dict[str, Any] = {}
    if layers is not None:
        changes["num_hidden_layers"] = layers
        if kinds := getattr(config, "layer_types", None):
            # They repeat, in all families that have several.
            changes["layer_types"] = [kinds[i % len(kinds)] for i in range(layers)]
    if width is not None:
        changes |= _widths(config, width)
    named = getattr(config, "attribute_map", {})
    values |= {named.get(name, name): value for name, value in changes.items()}
    values["initializer_range"] = _deviation(
        width or config.hidden_size, config.vocab_size
    )
    return type(config).from_dict(values)


def _widths(config: Any, width: int) -> dict[str, Any]:
    """The sizes that go with a width: heads of the same size, as many as there is room
    for, and the same share of the width inside the layers."""
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    if width % size:
        raise LmtuiError(
            "a model of this width can't be made",
            f"{width} is not a multiple of {size}, the width of a head",
            f"Give --width {max(1, round(width / size)) * size}.",
        )
    changes: dict[str, Any] = {
        "hidden_size": width,
        "num_attention_heads": width // size,
    }
    if groups := getattr(config, "num_key_value_heads", None):
        changes["num_key_value_heads"] = _divisor(width // size, groups / heads)
    if inner := getattr(config, "intermediate_size", None):
        changes["intermediate_size"] = max(1, round(inner * width / config.hidden_size))
    return changes


def _divisor(heads: int, share: float) -> int:
    """The largest number that divides the heads and is at most such a share of them."""
    most = max(1, round(heads * share))
    return next(count for count in range(most, 0, -1) if heads % count == 0)


def _deviation(width: int, vocabulary: int) -> float:
    """How far the first weights are from 0.

    So little that every token is about as probable as any other: a state of unit
    size times a row of the head has a variance of width · σ², which adds half of it
    to the loss; and where the head is the embedding, the last token's product with
    itself, width · σ, has to stay below ln V, or the model begins by repeating it.
    """
    plain = math.log(vocabulary)
    return min(
        _LARGEST,
        math.sqrt(0.02 * plain / width),
        max(0.5, plain - _MARGIN) / width,
    )
