"""What texts cost a model, document by document, and what that adds up to.

Owns the figures that training is judged by. They are sums of the engine's own scores;
nothing here computes one. Imports no torch. Sums and means are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lmtui.engine.totals import perplexity
from lmtui.notation import LN2


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """What a model thought of one document."""

    path: str
    tokens: int
    """Tokens that count: those a model is trained on that had a context; control
    tokens, which are no text, do not."""
    bytes: int
    """UTF-8 bytes of these tokens."""
    nll: float
    """Sum of their negative logprobs."""
    logprobs: tuple[float | None, ...]
    """Of every id of the document; None for one that does not count."""

    @property
    def loss(self) -> float:
        """Mean negative logprob of a token; NaN without tokens."""
        return self.nll / self.tokens if self.tokens else math.nan


@dataclass(frozen=True, slots=True)
class LossTotals:
    """Documents together; every token counts the same."""

    loss: float
    """Mean negative logprob of a token."""
    perplexity: float | None
    """exp of it; None where that is too large for a float."""
    bits_per_byte: float
    tokens: int
    bytes: int


def together(scores: Sequence[DocumentScore]) -> LossTotals | None:
    """The figures of some documents; None where nothing in them counts."""
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
