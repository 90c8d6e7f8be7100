"""Totals of log-probabilities: mean, perplexity, bits per unit of text; and what one
log-probability is beside its distribution.

Each is None where it is undefined. Pure functions; knows no engine and no screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmtui.engine.lens import LensRow
from lmtui.engine.types import ScoredToken, Step
from lmtui.notation import bits
from lmtui.partial import exact_entropy


def mean_nll(logprob: float, scored: int) -> float | None:
    """Return the mean negative log-probability of `scored` tokens, in nats."""
    return -logprob / scored if scored else None


def perplexity(mean: float | None) -> float | None:
    """Return exp of a mean in nats; None also where that overflows a float."""
    try:
        return None if mean is None else math.exp(mean)
    except OverflowError:
        return None


def bits_per(logprob: float | None, units: int) -> float | None:
    """Return a sum in nats as bits per unit (byte or character)."""
    return None if logprob is None or not units else bits(logprob) / units


def typicality(token: ScoredToken | Step | LensRow) -> float | None:
    """Return by how many standard deviations a token is more probable than the model
    expects of its own draws, z = (log p + H) / √varentropy; None also where all of
    these are equally probable."""
    entropy = exact_entropy(token.entropy)
    if token.logprob is None or entropy is None or not token.varentropy:
        return None
    return (token.logprob + entropy) / math.sqrt(token.varentropy)


@dataclass(frozen=True, slots=True)
class Sums:
    """Totals of one part of a text."""

    name: str
    """Name of the part, in a word."""
    logprob: float
    """Sum over its scored tokens, in nats."""
    scored: int
    tokens: int | None
    """Number of all its tokens, scored or not; None where they were not counted."""
    characters: int
    """Code points of its scored tokens."""
    bytes: int
    """UTF-8 bytes of its scored tokens."""
    stale: bool = False
    """Whether some of its numbers are from before an edit."""
    whole: bool = True
    """Whether all of its tokens that have a distribution were scored."""
    rough: bool = False
    """Whether fast weights gave its sum, whose decimals change from run to run."""

    @property
    def known(self) -> float | None:
        """Sum in nats; None where no token was scored."""
        return self.logprob if self.scored else None

    @property
    def total(self) -> float | None:
        """Sum in nats over all tokens; None where some were not scored."""
        return self.known if self.whole else None

    @property
    def mean_nll(self) -> float | None:
        """Mean negative log-probability of a scored token, in nats."""
        return mean_nll(self.logprob, self.scored)

    @property
    def perplexity(self) -> float | None:
        return perplexity(self.mean_nll)

    @property
    def bits_per_character(self) -> float | None:
        return bits_per(self.known, self.characters)

    @property
    def bits_per_byte(self) -> float | None:
        return bits_per(self.known, self.bytes)
