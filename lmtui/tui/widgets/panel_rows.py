"""What the probability panel says: rows, masses and sentences, as pure functions.

Whatever is drawn sums to one: a row that finds no place goes into the rest.
Knows no widget and no colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lmtui import notation
from lmtui.engine.types import Candidate, Distribution


@dataclass(frozen=True, slots=True)
class PanelRows:
    """The rows that are drawn, and the mass of all tokens that are not."""

    candidates: tuple[Candidate, ...]
    rest_prob: float
    rest_sampled_prob: float | None
    """None where nothing is drawn from, as for a scored text."""


def fit_rows(distribution: Distribution, count: int, *, first: int = 0) -> PanelRows:
    """`count` rows from row `first` on; the others' mass goes into the rest."""
    rows = distribution.candidates
    shown = rows[first : first + max(0, count)]
    hidden = (*rows[:first], *rows[first + len(shown) :])
    sampled = [row.sampled_prob for row in hidden]
    rest = math.fsum([distribution.rest_prob, *(row.prob for row in hidden)])
    rest_sampled = math.fsum(
        [distribution.rest_sampled_prob, *(prob for prob in sampled if prob)]
    )
    return PanelRows(
        candidates=shown,
        rest_prob=max(0.0, rest),
        rest_sampled_prob=max(0.0, rest_sampled)
        if is_drawn_from(distribution)
        else None,
    )


def is_drawn_from(distribution: Distribution) -> bool:
    """Whether a sampler draws from it; not where a text is only read."""
    return all(row.sampled_prob is not None for row in distribution.candidates)


def bar(prob: float, sampled_prob: float | None, width: int) -> str:
    """Two bars in one line of quarter blocks, half a cell exact: above, the model's
    own probability; below, the one drawn from."""
    above = _halves(prob, width)
    below = _halves(prob if sampled_prob is None else sampled_prob, width)
    full, end = min(above, below) // 2, (max(above, below) + 1) // 2
    between = "".join(
        _QUARTERS[above > 2 * cell, above > 2 * cell + 1,
                  below > 2 * cell, below > 2 * cell + 1]
        for cell in range(full, end)
    )  # fmt: skip
    return "█" * full + between + " " * (width - end)


def _halves(prob: float, width: int) -> int:
    if not math.isfinite(prob):
        return 0
    return round(2 * width * min(1.0, max(0.0, prob)))


# Left and right above, left and right below.
_QUARTERS = {
    (False, False, False, False): " ",
    (True, False, False, False): "▘",
    (True, True, False, False): "▀",
    (False, False, True, False): "▖",
    (False, False, True, True): "▄",
    (True, False, True, False): "▌",
    (True, True, True, False): "▛",
    (True, False, True, True): "▙",
    (True, True, True, True): "█",
}


def summary_forms(distribution: Distribution) -> Sequence[Sequence[str]]:
    """The sentence about the whole distribution, ever shorter, never different."""
    entropy = f"entropy {notation.entropy(distribution.entropy)} bits"
    choices = notation.choices(distribution.entropy)
    spread = tuple((entropy, f"{name} {choices}") for name in notation.CHOICES)
    if not is_drawn_from(distribution):
        return (*spread, (entropy,))
    kept = f"kept {distribution.kept:,}"
    mass = notation.percent(distribution.kept_prob)
    whole = (f"{kept} of {distribution.vocabulary:,}", f"{mass} of mass")
    short = f"{kept}, {mass} of mass"
    return (
        *((*whole, *words) for words in spread),
        *((short, *words) for words in spread),
        (short, entropy),
        (kept, entropy),
        (entropy,),
    )
