"""Pearson's chi-squared test: whether counts agree with what is expected of chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LEAST = 5
"""Least expected count of a class: below it, the statistic does not follow the
chi-squared distribution closely (Cochran 1954)."""


@dataclass(frozen=True, slots=True)
class ChiSquare:
    statistic: float
    """Σ (count − expected)² / expected."""
    freedom: int
    """Degrees of freedom: classes less one."""

    @property
    def p_value(self) -> float:
        """Probability of a statistic at least as large, if chance alone is at work."""
        return survival(self.statistic, self.freedom)


def chi_square(counts: Sequence[int], expected: Sequence[float]) -> ChiSquare | None:
    """Compare counts with expected counts of the same sum, class by class.

    Classes of which fewer than five are expected are pooled; with the smallest other
    one, where they are still fewer together. None where one class is left.
    """
    pairs = list(zip(counts, expected, strict=True))
    large = sorted((e, c) for c, e in pairs if e >= _LEAST)
    small = [(e, c) for c, e in pairs if e < _LEAST]
    pooled = math.fsum(e for e, _ in small), sum(c for _, c in small)
    if pooled[0] >= _LEAST:
        large.append(pooled)
    elif large:
        large[0] = large[0][0] + pooled[0], large[0][1] + pooled[1]
    if len(large) < 2:
        return None
    return ChiSquare(math.fsum((c - e) ** 2 / e for e, c in large), len(large) - 1)


def survival(statistic: float, freedom: int) -> float:
    """Return the probability that a chi-squared variable exceeds a statistic."""
    import torch

    half = torch.tensor([freedom / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(*half))
