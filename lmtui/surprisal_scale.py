"""The scale of the heat map: six steps of surprisal, rank, entropy, probability or
typicality.

Bounds and legends of each measure. The screens, the shell and the HTML page add the
colours. Knows no widget and no output.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, get_args

from lmtui.notation import LN2, bits, number
from lmtui.partial import Entropy, EntropyRange, Rank, RankAbove

Measure = Literal["surprisal", "rank", "entropy", "probability", "typicality"]
"""A measure of a token with six steps, from expected to surprising."""

Shade = Measure | Literal["difference"]
"""A measure, or the difference of a token's surprisal to that under another model."""

MEASURES: tuple[Measure, ...] = get_args(Measure)

BOUNDS = (-math.log2(0.8), 1.0, 3.0, 6.0, 10.0)
"""Bits of surprisal, and of entropy, at which each step but the first begins."""

RANKS = (1, 3, 10, 100, 1000)
"""The last rank of each step but the last."""

PROBS = (0.9, 0.5, 0.2, 0.05, 0.01)
"""The least probability of each step but the last."""

TYPICALITIES = (0.0, -1.0, -2.0, -3.0, -4.0)
"""The least typicality of each step but the last, in standard deviations."""

DIFFERENCES = (-5.0, -2.0, -0.5, 0.5, 2.0, 5.0)
"""Bits of difference at which each step but the first begins; the middle step is
plain."""

SIGNED = 2.0
"""Bits of difference from which a sign is drawn beside a token."""

STEPS = len(BOUNDS) + 1


def step(value: float | None, measure: Measure) -> int:
    """Return the step of a value (surprisal and entropy in bits); 0 for none."""
    if value is None or math.isnan(value):
        return 0
    if measure == "rank":
        return sum(value > last for last in RANKS)
    if measure in ("probability", "typicality"):
        bounds = PROBS if measure == "probability" else TYPICALITIES
        return sum(value < bound for bound in bounds)
    return bisect_right(BOUNDS, value)


def surprisal_step(logprob: float | None) -> int:
    """Return the step of a token with this log-probability, in nats."""
    known = logprob is not None and not math.isnan(logprob)
    return step(bits(logprob) if known and logprob is not None else None, "surprisal")


def rank_step(rank: Rank | None) -> int:
    """Return the step of a rank; of the least rank it can have where it is only known
    to be above a number."""
    return step(rank.listed + 1 if isinstance(rank, RankAbove) else rank, "rank")


def entropy_step(entropy: Entropy | None) -> int:
    """Return the step of an entropy in nats; of the middle of a least and a greatest
    one, or of the least where nothing is the greatest."""
    if isinstance(entropy, EntropyRange):
        least, most = entropy
        entropy = least if math.isinf(most) else (least + most) / 2
    return step(None if entropy is None else entropy / LN2, "entropy")


def difference_step(value: float | None) -> int:
    """Return the step of a difference in bits, −3 to 3."""
    if value is None or math.isnan(value):
        return 0
    return bisect_right(DIFFERENCES, value) - len(DIFFERENCES) // 2


def legend(measure: Shade) -> Sequence[str]:
    """Return a short text for each step."""
    if measure == "difference":
        return ("−5", "−2", "−½", "0", "+½", "+2", "+5")
    if measure == "rank":
        return ("1", *(f"≤{last:,}" for last in RANKS[1:]), f">{RANKS[-1]:,}")
    if measure == "probability":
        return (*(f"≥{bound:.0%}" for bound in PROBS), f"<{PROBS[-1]:.0%}")
    if measure == "typicality":
        bounds = [number(bound, ".0f") for bound in TYPICALITIES]
        return (*(f"≥{bound}" for bound in bounds), f"<{bounds[-1]}")
    return (*(f"<{bound:.2g}" for bound in BOUNDS), f"≥{BOUNDS[-1]:.2g}")


def explained(measure: Shade) -> Sequence[str]:
    """Return the legend, with the probability of the first step of surprisal."""
    first, *others = legend(measure)
    return (f"{first} (p > 0.8)" if measure == "surprisal" else first, *others)


def unit(measure: Shade) -> str:
    """Return the unit of a measure; empty for ranks and probabilities."""
    if measure == "typicality":
        return "σ"
    return "" if measure in ("rank", "probability") else "bits"
