"""The results of an evaluation: document scores, their totals, continuations.

The figures are sums of the engine's scores. Sums and means are in nats. Imports no
torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lmtui.engine.scoring.totals import perplexity
from lmtui.notation import LN2


@dataclass(frozen=True, slots=True)
class DocumentScore:
    path: str
    tokens: int
    """Number of tokens that count: trained on, with a context, and not a control
    token."""
    bytes: int
    """UTF-8 bytes of these tokens."""
    nll: float
    """Sum of the negative logprobs of these tokens."""
    logprobs: tuple[float | None, ...]
    """One for each id of the document; None for one that does not count."""

    @property
    def loss(self) -> float:
        """Mean negative logprob of a token; NaN without tokens."""
        return self.nll / self.tokens if self.tokens else math.nan


@dataclass(frozen=True, slots=True)
class LossTotals:
    """Totals over documents; every token has the same weight."""

    loss: float
    """Mean negative logprob of a token."""
    perplexity: float | None
    """exp of the loss; None where that is too large for a float."""
    bits_per_byte: float
    tokens: int
    bytes: int


def together(scores: Sequence[DocumentScore]) -> LossTotals | None:
    """Return the totals of some documents; None where no token counts."""
    tokens = sum(score.tokens for score in scores)
    size = sum(score.bytes for score in scores)
    if not tokens or not size:
        return None
    nll = math.fsum(score.nll for score in scores)
    return LossTotals(
        loss=nll / tokens,
        perplexity=perplexity(nll / tokens),
        bits_per_byte=nll / LN2 / size,
        tokens=tokens,
        bytes=size,
    )


@dataclass(frozen=True, slots=True)
class Memorized:
    """The longest run of training text that the model repeated word for word."""

    tokens: int
    characters: int
    path: str
    """The document whose beginning was the prompt."""
    text: str


@dataclass(frozen=True, slots=True)
class Answers:
    held_out: tuple[DocumentScore, ...]
    neutral: DocumentScore
    continued: tuple[str, ...]
    recalled: Memorized | None
