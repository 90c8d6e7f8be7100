"""Styles of the six steps of surprisal, the same in every widget.

Each step has a colour of the theme and, for terminals without colours, an attribute.
Tokens with a probability above 0.8 are plain. The bounds of the steps are in
`lmtui.surprisal_scale`. Knows no widget.
"""

from __future__ import annotations

import math

from lmtui import surprisal_scale
from lmtui.engine.scoring.totals import typicality
from lmtui.engine.types import ScoredToken, Step
from lmtui.surprisal_scale import STEPS, Measure

CLASSES = frozenset(f"surprise--{step}" for step in range(STEPS))

# Steps 0 and 1 look the same without colour: less than a bit is not worth marking.
_ATTRIBUTES = ("none", "none", "underline", "bold underline", "reverse",
               "bold reverse underline")  # fmt: skip


def level_of(token: ScoredToken | Step, measure: Measure) -> int:
    """Return the step of a token by one of its measures, as far as a server tells it;
    step 0 where nothing is known."""
    if measure == "surprisal":
        return surprisal_scale.surprisal_step(token.logprob)
    if measure == "entropy":
        return surprisal_scale.entropy_step(token.entropy)
    if measure == "rank":
        return surprisal_scale.rank_step(token.rank)
    if measure == "typicality":
        return surprisal_scale.step(typicality(token), measure)
    prob = None if token.logprob is None else math.exp(min(0.0, token.logprob))
    return surprisal_scale.step(prob, measure)


DIFFERENCE_CLASSES = frozenset(f"difference--{step}" for step in range(7))
"""The component class of each step of difference; the first is step −3."""

# Less expected is italic, more expected is underlined. Without colours a sign is added
# too; see `TokenLines`.
_LEANING = ("reverse bold italic", "bold italic", "italic", "none",
            "underline", "bold underline", "reverse bold underline")  # fmt: skip


def difference_sheet(widget: str) -> str:
    colours = ("$cut",) * 3 + ("$foreground",) + ("$prob-raw",) * 3
    rules = enumerate(zip(colours, _LEANING, strict=True))
    return "\n".join(
        f"{widget} > .difference--{step} {{ color: {colour}; text-style: {style}; }}"
        for step, (colour, style) in rules
    )


def sheet(widget: str, *, attributes: bool = True, prefix: str = "surprise--") -> str:
    return "\n".join(
        f"{widget} > .{prefix}{step} {{ color: $surprise-{step};"
        + (f" text-style: {_ATTRIBUTES[step]};" if attributes else "")
        + " }"
        for step in range(STEPS)
    )
