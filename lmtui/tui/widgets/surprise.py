"""How surprise looks: six steps, the same in every widget.

Each step has a colour of the theme and, for those without colours, an attribute.
Only uncertainty draws attention: what the model gave more than 80 % is plain text.
Knows no widget.
"""

from __future__ import annotations

import math
from typing import Literal

from lmtui.engine.types import ScoredToken, Step
from lmtui.tui.widgets.cells import LN2

Measure = Literal["surprisal", "rank", "entropy", "probability"]
"""What of a token its step can tell."""

Shade = Measure | Literal["difference"]
"""That, or how much more another model expected it."""

MEASURES: tuple[Measure, ...] = ("surprisal", "rank", "entropy", "probability")

BOUNDS = (-math.log2(0.8), 1.0, 3.0, 6.0, 10.0)
"""Upper bound of each step but the last, in bits."""

RANKS = (1, 3, 10, 100, 1000)
"""The last rank of each step but the last."""

PROBS = (0.9, 0.5, 0.2, 0.05, 0.01)
"""Lower bound of the probability of each step but the last."""

DIFFERENCES = (-5.0, -2.0, -0.5, 0.5, 2.0, 5.0)
"""Bounds of the steps of difference, in bits; those in the middle are plain."""

SIGNED = 2.0
"""Bits of difference from which on, without colours, a sign stands at a token."""

STEPS = len(BOUNDS) + 1

CLASSES = frozenset(f"surprise--{step}" for step in range(STEPS))
"""The component class of each step."""

# Steps 0 and 1 share their looks without colour: below one bit, nothing is at stake.
_ATTRIBUTES = ("none", "none", "underline", "bold underline", "reverse",
               "bold reverse underline")  # fmt: skip


def bits(logprob: float) -> float:
    """The surprisal of a natural logprob, in bits; never a negative zero."""
    return max(0.0, -logprob / LN2)


def step_of(logprob: float | None) -> int:
    """The step of a token; one without a logprob is plain."""
    if logprob is None or math.isnan(logprob):
        return 0
    surprisal = bits(logprob)
    return sum(surprisal >= bound for bound in BOUNDS)


def level_of(token: ScoredToken | Step, measure: Measure) -> int:
    """The step of a token by one of its numbers; a token without it is plain."""
    if measure == "surprisal":
        return step_of(token.logprob)
    if measure == "rank":
        return sum((token.rank or 1) > last for last in RANKS)
    if measure == "probability":
        known = token.logprob is not None and not math.isnan(token.logprob)
        prob = math.exp(token.logprob) if known and token.logprob is not None else 1
        return sum(prob < bound for bound in PROBS)
    return sum((token.entropy or 0.0) / LN2 >= bound for bound in BOUNDS)


def difference_of(bits: float | None) -> int:
    """The step of a difference, −3 to 3."""
    if bits is None or math.isnan(bits):
        return 0
    return sum(bits >= bound for bound in DIFFERENCES) - len(DIFFERENCES) // 2


def legend_of(measure: Shade) -> tuple[str, ...]:
    """What each step means, in a word."""
    if measure == "difference":
        return ("−5", "−2", "−½", "0", "+½", "+2", "+5")
    if measure == "rank":
        return ("1", *(f"≤{last:,}" for last in RANKS[1:]), "more")
    if measure == "probability":
        return (*(f"≥{bound:.0%}" for bound in PROBS), f"<{PROBS[-1]:.0%}")
    return (*(f"<{bound:.2g}" for bound in BOUNDS), f"≥{BOUNDS[-1]:.2g}")


DIFFERENCE_CLASSES = frozenset(f"difference--{step}" for step in range(7))
"""The component class of each step of difference, the first being −3."""

# Less expected leans, more expected is underlined; either with a sign that no text is
# likely to hold.
_LEANING = ("reverse bold italic", "bold italic", "italic", "none",
            "underline", "bold underline", "reverse bold underline")  # fmt: skip


def difference_sheet(widget: str) -> str:
    """The rules of a widget that shows differences."""
    colours = ("$cut",) * 3 + ("$foreground",) + ("$prob-raw",) * 3
    rules = enumerate(zip(colours, _LEANING, strict=True))
    return "\n".join(
        f"{widget} > .difference--{step} {{ color: {colour}; text-style: {style}; }}"
        for step, (colour, style) in rules
    )


def sheet(widget: str, *, attributes: bool = True) -> str:
    """The rules of a widget that uses the steps."""
    return "\n".join(
        f"{widget} > .surprise--{step} {{ color: $surprise-{step};"
        + (f" text-style: {_ATTRIBUTES[step]};" if attributes else "")
        + " }"
        for step in range(STEPS)
    )
