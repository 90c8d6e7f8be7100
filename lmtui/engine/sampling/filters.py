"""Filters of the sampler: which of the ranked tokens they keep.

Each is a pure function on the first n tokens of a ranking; all keep consecutive ones.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Probs = NDArray[np.float64]


def count_top_k(available: int, top_k: int) -> int:
    """Return how many of `available` tokens top-k keeps (Fan et al. 2018, section
    5.4)."""
    return min(top_k or available, available)


def count_top_p(probs: Probs, top_p: float) -> int:
    """Return how many of the ranked probs [n] top-p keeps: up to and including the one
    that reaches the mass (Holtzman et al. 2020, nucleus sampling)."""
    if top_p >= 1:
        return len(probs)
    return min(int(probs.cumsum().searchsorted(top_p)) + 1, len(probs))


def count_min_p(probs: Probs, min_p: float) -> int:
    """Return how many of the ranked probs [n] are at least `min_p` of the first (Nguyen
    et al. 2024, min-p sampling)."""
    return count_at_least(probs, min_p * float(probs[0]))


def min_p_floor(greatest: float, temperature: float, min_p: float) -> float:
    """Return the least logit that min-p keeps, before the temperature; see
    `count_min_p`."""
    return greatest + temperature * math.log(min_p)


def top_n_sigma_floor(greatest: float, deviation: float, top_n_sigma: float) -> float:
    """Return the least logit that top-nσ keeps: `top_n_sigma` standard deviations below
    the greatest (Tang et al. 2024, Top-nσ)."""
    return greatest - top_n_sigma * deviation


def typical_band(probs: Probs, typical_p: float) -> tuple[int, int]:
    """Return start and end of those of the ranked probs [n] that locally typical
    sampling keeps: the tokens whose surprise is nearest to the entropy, up to and
    including the one that reaches the mass (Meister et al. 2023).

    Of equally near tokens, the one next to those that are kept comes first, and the
    more probable one of two on both sides.
    """
    if not probs[-1] > 0:
        probs = probs[probs > 0]
    surprise = -np.log(probs)
    entropy = float(probs @ surprise)
    distance = np.abs(surprise - entropy)
    above = int(surprise.searchsorted(entropy))  # tokens that are more probable
    outwards = np.concatenate([np.arange(above)[::-1], np.arange(above, len(probs))])
    nearest = outwards[distance[outwards].argsort(kind="stable")]
    kept = nearest[: count_top_p(probs[nearest], typical_p)]
    start = above - int(np.count_nonzero(kept < above))
    return start, start + len(kept)


def count_at_least(probs: Probs, threshold: float) -> int:
    """Return how many of the ranked probs [n] are at least a threshold.

    XTC ("exclude top choices", p-e-w 2024, text-generation-webui#6335) removes these
    but the last of them.
    """
    return int(np.count_nonzero(probs >= threshold))
