"""Values of the logit lens: what a model would predict after each of its layers.

The state of a token after a layer is given to the model's own final norm and head, as
if no layer came after it (nostalgebraist 2020, "interpreting GPT: the logit lens").
Torch-free.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lmtui.engine.types import Candidate, ScoredToken


@dataclass(frozen=True, slots=True)
class LensRow:
    """Distribution of the next token, as one layer has it."""

    layer: int
    """0 is after the embedding, n after the n-th layer; the last one's distribution is
    the model's own."""
    top: tuple[Candidate, ...]
    """The most probable tokens, as many as were asked for."""
    logprob: float | None
    """Of the token that really comes next; None at the end of the text, as is
    `rank`."""
    rank: int | None
    entropy: float
    """Of the layer's probabilities, in nats."""
    varentropy: float | None = None
    """Of the same, in nats²."""


@dataclass(frozen=True, slots=True)
class LensColumn:
    """What each layer predicts for one token of a text, from the tokens before it."""

    index: int
    """Index of the predicted token; that after the last one at the end of the text."""
    rows: tuple[LensRow, ...]
    """From the embedding to the last layer; empty for a first token without context."""

    def scored(self, token: ScoredToken) -> ScoredToken:
        """Return the predicted token with the last layer's numbers, which are its
        score."""
        if not self.rows:
            return token
        last = self.rows[-1]
        return replace(
            token,
            logprob=last.logprob,
            rank=last.rank,
            entropy=last.entropy,
            varentropy=last.varentropy,
            top=last.top,
        )
