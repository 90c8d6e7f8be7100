"""Drawing of tokens: the random numbers, and the inverse of the distribution."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lmtui.engine.sampling.sampled import SampledDistribution


def draw(sampled: SampledDistribution, generator: torch.Generator) -> int:
    """Draw a token; return its index among those that are kept."""
    return int(draw_many(sampled, generator, 1)[0])


def draw_many(
    sampled: SampledDistribution, generator: torch.Generator, count: int
) -> Tensor:
    """Draw tokens by inverting the cumulative distribution at `count` uniform numbers.

    Returns their indices among those that are kept, int64 [count]: those of as many
    calls of `draw`.
    """
    cumulative = sampled.probs.numpy().cumsum()
    reached = uniform(generator, count).numpy() * cumulative[-1]
    indexes = cumulative.searchsorted(reached, side="right")
    return torch.from_numpy(np.minimum(indexes, len(sampled) - 1))


def uniform(generator: torch.Generator, count: int = 1) -> Tensor:
    """Return the random numbers of draws: float64 [count], from 0 up to 1."""
    return torch.rand(count, dtype=torch.float64, generator=generator)
