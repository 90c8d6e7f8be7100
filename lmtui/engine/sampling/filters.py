"""Filters of the sampler: which of the ranked tokens they keep.

Each is a pure function on the first n tokens of a ranking; all keep consecutive ones.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def count_top_k(available: int, top_k: int) -> int:
    """Return how many of `available` tokens top-k keeps (Fan et al. 2018, section
    5.4)."""
    return min(top_k or available, available)


def count_top_p(probs: Tensor, top_p: float) -> int:
    """Return how many of the ranked probs [n] top-p keeps: up to and including the one
    that reaches the mass (Holtzman et al. 2020, nucleus sampling)."""
    if top_p >= 1:
        return probs.numel()
    reaching = int(torch.searchsorted(probs.cumsum(0), top_p))
    return min(reaching + 1, probs.numel())


def count_min_p(probs: Tensor, min_p: float) -> int:
    """Return how many of the ranked probs [n] are at least `min_p` of the first (Nguyen
    et al. 2024, min-p sampling)."""
    return int((probs >= min_p * probs[0]).sum())


def top_n_sigma_floor(greatest: float, deviation: float, top_n_sigma: float) -> float:
    """Return the least logit that top-nσ keeps: `top_n_sigma` standard deviations below
    the greatest (Tang et al. 2024, Top-nσ)."""
    return greatest - top_n_sigma * deviation


def min_p_floor(greatest: float, temperature: float, min_p: float) -> float:
    """Return the least logit that min-p keeps, before the temperature; see
    `count_min_p`."""
    return greatest + temperature * math.log(min_p)


def typical_band(probs: Tensor, typical_p: float) -> tuple[int, int]:
    """Return start and end of those of the ranked probs [n] that locally typical
    sampling keeps: the tokens whose surprise is nearest to the entropy, up to and
    including the one that reaches the mass (Meister et al. 2023).

    Of equally near tokens, the one next to those that are kept comes first, and the
    more probable one of two on both sides.
    """
    surprise = -probs.log()
    entropy = torch.where(probs > 0, probs * surprise, 0.0).sum()
    distance = (surprise - entropy).abs()
    above = int((surprise < entropy).sum())  # tokens that are more probable
    ranks = torch.arange(probs.numel())
    outwards = torch.cat([ranks[:above].flip(0), ranks[above:]])
    nearest = outwards[distance[outwards].sort(stable=True).indices]
    kept = nearest[: count_top_p(probs[nearest], typical_p)]
    return int(kept.min()), int(kept.max()) + 1


def count_at_least(probs: Tensor, threshold: float) -> int:
    """Return how many of the ranked probs [n] are at least a threshold.

    XTC ("exclude top choices", p-e-w 2024, text-generation-webui#6335) removes these
    but the last of them.
    """
    return int((probs >= threshold).sum())
