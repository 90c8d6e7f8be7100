"""Frequencies of rotary position embeddings (RoPE), by a model's configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

SCALINGS = ("default", "linear", "llama3", "proportional", "yarn")
"""Values of `rope_type` whose frequencies depend on the position alone."""


def frequencies(parameters: Mapping[str, Any], head_dim: int) -> Tensor:
    """Return the angle per position for each pair of a head's numbers, in radians:
    float32 [head_dim / 2]. `parameters` are transformers' `rope_parameters`, of a type
    in `SCALINGS`.

    Sources: Su et al. 2021; for `linear`, Chen et al., "Extending Context Window of
    Large Language Models via Positional Interpolation", 2023; for `llama3`, the code
    that Meta published with Llama 3.1; for `yarn`, Peng et al., "YaRN: Efficient
    Context Window Extension of Large Language Models", 2023.

    Raises:
        KeyError, TypeError, ValueError: a parameter is missing, or no number.
    """
    kind = parameters.get("rope_type", "default")
    turned = int(head_dim * turned_share(parameters))
    if turned < head_dim:  # the rest of a head stays as it is
        whole = dict(parameters, partial_rotary_factor=1)
        rest = torch.zeros((head_dim - turned) // 2)
        return torch.cat([frequencies(whole, turned), rest])
    exponents = torch.arange(0, head_dim, 2).float() / head_dim
    plain = 1.0 / float(parameters["rope_theta"]) ** exponents
    if kind == "default":
        return plain
    if kind == "proportional":  # turns the first pairs, of those of a whole head
        share = parameters.get("partial_rotary_factor", 1)
        plain[int(share * head_dim // 2) :] = 0
        return plain / float(parameters.get("factor", 1))
    factor = float(parameters["factor"])
    if kind == "linear":
        return plain / factor
    if kind == "yarn":
        return _yarn(parameters, plain)
    low, high = (float(parameters[f"{name}_freq_factor"]) for name in ("low", "high"))
    context = float(parameters["original_max_position_embeddings"])
    wavelengths = 2 * math.pi / plain
    # Short waves stay, long ones are stretched, and those between are mixed of both.
    stretched = torch.where(wavelengths > context / low, plain / factor, plain)
    share = (context / wavelengths - low) / (high - low)
    mixed = (1 - share) * stretched / factor + share * stretched
    between = (wavelengths >= context / high) & (wavelengths <= context / low)
    return torch.where(between, mixed, stretched)


def _yarn(parameters: Mapping[str, Any], plain: Tensor) -> Tensor:
    """Return the frequencies of YaRN, given the plain ones: pairs that turn often in
    the trained context stay, those that turn less than once are stretched."""
    factor, theta = float(parameters["factor"]), float(parameters["rope_theta"])
    context = float(parameters["original_max_position_embeddings"])

    def pair_of(turns: float) -> float:
        """Return the pair that turns so often in the context."""
        return len(plain) * math.log(context / (2 * math.pi * turns)) / math.log(theta)

    first = pair_of(parameters.get("beta_fast") or 32)
    last = pair_of(parameters.get("beta_slow") or 1)
    if parameters.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, 2 * len(plain) - 1)
    pairs = torch.arange(len(plain)).float()
    share = ((pairs - first) / ((last - first) or 0.001)).clamp(0, 1)
    return plain / factor * share + plain * (1 - share)


def turned_share(parameters: Mapping[str, Any]) -> float:
    """Return the share of a head's numbers, the first ones, whose pairs are turned."""
    if parameters.get("rope_type") == "proportional":
        return 1.0
    return float(parameters.get("partial_rotary_factor") or 1)


def attention_factor(parameters: Mapping[str, Any]) -> float:
    """Return what YaRN multiplies the cosines and sines of `parameters` by; 1 for other
    types."""
    if parameters.get("rope_type") != "yarn":
        return 1.0
    if (known := parameters.get("attention_factor")) is not None:
        return float(known)
    factor, all_dim = parameters["factor"], parameters.get("mscale_all_dim") or 0
    scale = parameters.get("mscale") or 0
    if factor <= 1:
        return 1.0
    if not (scale and all_dim):
        scale, all_dim = 1, 0
    above, below = (0.1 * each * math.log(factor) + 1 for each in (scale, all_dim))
    return float(above / below)
