"""How surprise looks: six steps, the same in every widget.

Each step has a colour of the theme and, for those without colours, an attribute.
Only uncertainty draws attention: what the model gave more than 80 % is plain text.
Knows no widget.
"""

from __future__ import annotations

import math
from typing import Literal

from lmtui.engine.types import ScoredToken
from lmtui.tui.widgets.cells import LN2

Measure = Literal["surprisal", "rank", "entropy"]
"""What of a token its step can tell."""

BOUNDS = (-math.log2(0.8), 1.0, 3.0, 6.0, 10.0)
"""Upper bound of each step but the last, in bits."""

RANKS = (1, 3, 10, 100, 1000)
"""The last rank of each step but the last."""

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


def level_of(token: ScoredToken, measure: Measure) -> int:
    """The step of a token by one of its numbers; a token without it is plain."""
    if measure == "surprisal":
        return step_of(token.logprob)
    if measure == "rank":
        return sum((token.rank or 1) > last for last in RANKS)
    return sum((token.entropy or 0.0) / LN2 >= bound for bound in BOUNDS)


def sheet(widget: str, *, attributes: bool = True) -> str:
    """The rules of a widget that uses the steps."""
    return "\n".join(
        f"{widget} > .surprise--{step} {{ color: $surprise-{step};"
        + (f" text-style: {_ATTRIBUTES[step]};" if attributes else "")
        + " }"
        for step in range(STEPS)
    )
