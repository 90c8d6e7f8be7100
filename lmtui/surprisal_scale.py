"""One scale of surprise: the steps by which a text is shaded, wherever it is shown.

Owns the bounds of each measure and the words of its legend. The screens, the shell and
the page add the colours. Knows no widget and no output.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, get_args

from lmtui.notation import LN2, bits

Measure = Literal["surprisal", "rank", "entropy", "probability"]
"""A number of a token that has six steps, from expected to surprising."""

Shade = Measure | Literal["difference"]
"""That, or how much more another model expected it."""

MEASURES: tuple[Measure, ...] = get_args(Measure)

BOUNDS = (-math.log2(0.8), 1.0, 3.0, 6.0, 10.0)
"""Bits of surprisal, and of entropy, from which each step but the first begins."""

RANKS = (1, 3, 10, 100, 1000)
"""The last rank of each step but the last."""

PROBS = (0.9, 0.5, 0.2, 0.05, 0.01)
"""Lower bound of the probability of each step but the last."""

DIFFERENCES = (-5.0, -2.0, -0.5, 0.5, 2.0, 5.0)
"""Bits of difference from which each step but the first begins; those in the middle
are plain."""

SIGNED = 2.0
"""Bits of difference from which on the sign is drawn beside a token."""

STEPS = len(BOUNDS) + 1


def step(value: float | None, measure: Measure) -> int:
    """The step of a value, surprisal and entropy in bits; plain where there is none."""
    if value is None or math.isnan(value):
        return 0
    if measure == "rank":
        return sum(value > last for last in RANKS)
    if measure == "probability":
        return sum(value < bound for bound in PROBS)
    return bisect_right(BOUNDS, value)


def surprisal_step(logprob: float | None) -> int:
    """The step of a token with this log-probability, in nats."""
    known = logprob is not None and not math.isnan(logprob)
    return step(bits(logprob) if known and logprob is not None else None, "surprisal")


def entropy_step(entropy: float | None) -> int:
    """The step of an entropy in nats."""
    return step(None if entropy is None else entropy / LN2, "entropy")


def difference_step(value: float | None) -> int:
    """The step of a difference in bits, −3 to 3."""
    if value is None or math.isnan(value):
        return 0
    return bisect_right(DIFFERENCES, value) - len(DIFFERENCES) // 2


def legend(measure: Shade) -> Sequence[str]:
    """Meaning of each step, in a word."""
    if measure == "difference":
        return ("−5", "−2", "−½", "0", "+½", "+2", "+5")
    if measure == "rank":
        return ("1", *(f"≤{last:,}" for last in RANKS[1:]), f">{RANKS[-1]:,}")
    if measure == "probability":
        return (*(f"≥{bound:.0%}" for bound in PROBS), f"<{PROBS[-1]:.0%}")
    return (*(f"<{bound:.2g}" for bound in BOUNDS), f"≥{BOUNDS[-1]:.2g}")


def explained(measure: Shade) -> Sequence[str]:
    """The legend with a word on which probability the first step of surprisal is."""
    first, *others = legend(measure)
    return (f"{first} (p > 0.8)" if measure == "surprisal" else first, *others)


def unit(measure: Shade) -> str:
    """Unit of a measure; empty for ranks and probabilities."""
    return "" if measure in ("rank", "probability") else "bits"
