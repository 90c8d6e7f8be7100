"""Pearson's chi-squared test: whether counts agree with what is expected of chance.

Pure arithmetic. Knows no tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_LEAST = 5
"""Least expected count of a class: below it, the statistic does not follow the
chi-squared distribution closely (Cochran 1954)."""
_PRECISE = 1e-15
_TERMS = 10_000


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
    """Return the probability that a chi-squared variable exceeds a statistic: the
    regularised upper incomplete gamma function Q(freedom / 2, statistic / 2)
    (Abramowitz & Stegun 1964, 26.4.19)."""
    a, x = freedom / 2, statistic / 2
    if x <= 0:
        return 1.0
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return max(0.0, 1 - scale * _series(a, x))
    return scale * _continued_fraction(a, x)


def _series(a: float, x: float) -> float:
    """Return Σ x^n / (a (a + 1) … (a + n)), which converges fast for x < a + 1
    (Abramowitz & Stegun 1964, 6.5.29)."""
    term = total = 1 / a
    for n in range(1, _TERMS):
        term *= x / (a + n)
        total += term
        if term < _PRECISE * total:
            break
    return total


def _continued_fraction(a: float, x: float) -> float:
    """Return 1 / (x + 1 − a − 1 (1 − a) / (x + 3 − a − …)), which converges fast for
    x > a + 1, from the front by Lentz's method (Press et al. 2007, Numerical Recipes,
    section 6.2)."""
    b = x + 1 - a
    d = 1 / b
    c, value = math.inf, d
    for n in range(1, _TERMS):
        factor = n * (a - n)
        b += 2
        d = 1 / (factor * d + b)
        c = b + factor / c
        value *= c * d
        if abs(c * d - 1) < _PRECISE:
            break
    return value
