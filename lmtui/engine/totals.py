"""What log-probabilities add up to.

Owns the arithmetic of the totals: the mean, the perplexity, the bits per unit of text,
each None where it is undefined. Pure; knows no engine and no screen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lmtui.notation import bits


def mean_nll(logprob: float, scored: int) -> float | None:
    """Mean negative log-probability of so many tokens, in nats."""
    return -logprob / scored if scored else None


def perplexity(mean: float | None) -> float | None:
    """exp of a mean in nats; None also where it is too large for a float."""
    try:
        return None if mean is None else math.exp(mean)
    except OverflowError:
        return None


def bits_per(logprob: float | None, units: int) -> float | None:
    """A sum in nats as bits over so many bytes or characters."""
    return None if logprob is None or not units else bits(logprob) / units


@dataclass(frozen=True, slots=True)
class Sums:
    """What a part of a text adds up to."""

    name: str
    """Which part it is, in a word."""
    logprob: float
    """Sum over its scored tokens, in nats."""
    scored: int
    tokens: int | None
    """All of its tokens, whether they were scored or not; None where they were not
    counted."""
    characters: int
    """Of its scored tokens."""
    bytes: int
    """UTF-8 bytes of its scored tokens."""
    stale: bool = False
    """Whether some of its numbers are from before an edit."""
    whole: bool = True
    """Whether all of its tokens were scored that have a distribution."""

    @property
    def known(self) -> float | None:
        """The sum in nats; None where nothing was scored."""
        return self.logprob if self.scored else None

    @property
    def total(self) -> float | None:
        """The sum in nats where it is that of all tokens."""
        return self.known if self.whole else None

    @property
    def mean_nll(self) -> float | None:
        """Mean negative log-probability of a scored token, in nats."""
        return mean_nll(self.logprob, self.scored)

    @property
    def perplexity(self) -> float | None:
        """exp of the mean."""
        return perplexity(self.mean_nll)

    @property
    def bits_per_character(self) -> float | None:
        """The sum in bits over the characters that were scored."""
        return bits_per(self.known, self.characters)

    @property
    def bits_per_byte(self) -> float | None:
        """The sum in bits over the UTF-8 bytes that were scored."""
        return bits_per(self.known, self.bytes)
