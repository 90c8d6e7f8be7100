"""How surprise looks: six steps, the same in every widget.

Each step has a colour of the theme and, for those without colours, an attribute.
Only uncertainty draws attention: what the model gave more than 80% is plain text.
Knows no widget; the bounds of the steps are `surprisal_scale`'s.
"""

from __future__ import annotations

import math

from lmtui import surprisal_scale
from lmtui.engine.types import ScoredToken, Step
from lmtui.surprisal_scale import STEPS, Measure

CLASSES = frozenset(f"surprise--{step}" for step in range(STEPS))
"""The component class of each step."""

# Steps 0 and 1 share their looks without colour: below one bit, nothing is at stake.
_ATTRIBUTES = ("none", "none", "underline", "bold underline", "reverse",
               "bold reverse underline")  # fmt: skip


def level_of(token: ScoredToken | Step, measure: Measure) -> int:
    """The step of a token by one of its numbers; a token without it is plain."""
    if measure == "surprisal":
        return surprisal_scale.surprisal_step(token.logprob)
    if measure == "entropy":
        return surprisal_scale.entropy_step(token.entropy)
    if measure == "rank":
        return surprisal_scale.step(token.rank, measure)
    prob = None if token.logprob is None else math.exp(min(0.0, token.logprob))
    return surprisal_scale.step(prob, measure)


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
