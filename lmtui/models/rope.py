"""Frequencies of rotary position embeddings (RoPE), by a model's configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

SCALINGS = ("default", "linear", "llama3")
"""Values of `rope_type` whose frequencies depend on the position alone."""


def frequencies(parameters: Mapping[str, Any], head_dim: int) -> Tensor:
    """Return the angle per position for each pair of a head's numbers, in radians:
    float32 [head_dim / 2]. `parameters` are transformers' `rope_parameters`, of a type
    in `SCALINGS`.

    Sources: Su et al. 2021; for `linear`, Chen et al., "Extending Context Window of
    Large Language Models via Positional Interpolation", 2023; for `llama3`, the code
    that Meta published with Llama 3.1.

    Raises:
        KeyError, TypeError, ValueError: a parameter is missing, or no number.
    """
    exponents = torch.arange(0, head_dim, 2).float() / head_dim
    plain = 1.0 / float(parameters["rope_theta"]) ** exponents
    kind = parameters.get("rope_type", "default")
    if kind == "default":
        return plain
    factor = float(parameters["factor"])
    if kind == "linear":
        return plain / factor
    low, high = (float(parameters[f"{name}_freq_factor"]) for name in ("low", "high"))
    context = float(parameters["original_max_position_embeddings"])
    wavelengths = 2 * math.pi / plain
    # Short waves stay, long ones are stretched, and those between are mixed of both.
    stretched = torch.where(wavelengths > context / low, plain / factor, plain)
    share = (context / wavelengths - low) / (high - low)
    mixed = (1 - share) * stretched / factor + share * stretched
    between = (wavelengths >= context / high) & (wavelengths <= context / low)
    return torch.where(between, mixed, stretched)
