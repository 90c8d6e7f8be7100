"""Effect of a stage of the sampler at one position, as a value without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeenRepeat:
    """Passage at the end of the context that DRY found earlier in it, too."""

    start: int
    """Index in the context of the earlier one's first token."""
    end: int
    """Index after its last token."""
    text: str
    """Its text; bytes that are no character show as `⟨E3 81⟩`."""
    following: str
    """Text of the token that came after it, and is weakened now."""


@dataclass(frozen=True, slots=True)
class StageEffect:
    """What a stage of the sampler did at one position."""

    stage: str
    """One of `STAGES`, `bias` or `grammar`."""
    removed: int
    """Number of tokens that it removed."""
    left: int
    """Number of tokens that can be drawn after it."""
    moved_mass: float
    """Share of the probability that it took from some tokens and gave to others: half
    the sum of all differences. For a stage that removes tokens, what they had."""
    coin: float | None = None
    """Random number from 0 up to 1 that XTC was decided by: it removes tokens below
    `xtc_probability`. None where nothing was drawn: then shown as if it did."""
    repeat: SeenRepeat | None = None
    """The longest repeated passage that DRY saw."""
    without_token: tuple[str, ...] = ()
    """Entries of `logit_bias` that are no single token of this model."""
