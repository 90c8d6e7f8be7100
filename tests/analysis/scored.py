"""Scored tokens out of nothing, for tests of what is made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st

from lmtui.engine.types import Candidate, ScoredToken


def token(
    index: int,
    logprob: float | None,
    data: bytes = b"a",
    *,
    rank: int | None = None,
    entropy: float | None = None,
    top: Sequence[Candidate] = (),
    id: int = 0,
) -> ScoredToken:
    """A scored token with nothing but what is given."""
    text = data.decode(errors="replace")
    return ScoredToken(index, id, text, data, logprob, rank, entropy, tuple(top))


def row(id: int, prob: float) -> Candidate:
    """A row of a distribution."""
    return Candidate(id, str(id), b"%d" % id, math.log(prob) if prob else -1e9)


@st.composite
def places(draw: st.DrawFn) -> ScoredToken:
    """A token with a whole distribution over few tokens, most probable first."""
    weights = draw(st.lists(st.integers(0, 40), min_size=1, max_size=14))
    weights[0] += 1
    probs = sorted((weight / sum(weights) for weight in weights), reverse=True)
    chosen = draw(st.integers(0, len(probs) - 1))
    if draw(st.booleans()) and draw(st.booleans()):
        return token(0, None)
    return token(
        0,
        math.log(probs[chosen]) if probs[chosen] else -1e9,
        rank=1 + sum(prob > probs[chosen] for prob in probs),
        entropy=-math.fsum(p * math.log(p) for p in probs if p),
        top=[row(id, prob) for id, prob in enumerate(probs)],
        id=chosen,
    )
