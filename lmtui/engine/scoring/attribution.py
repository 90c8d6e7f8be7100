"""Probability of a target after a context, which may be one without a part of it.

Knows ids only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lmtui import cancellation
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.scoring.score import ScoringBackend, TokenScore, rows_of


def target_logprob(
    cache: PrefixCache, context: Sequence[int], target: Sequence[int]
) -> float:
    """As `Engine.target_logprob`, of the model whose tokens `cache` holds."""
    cancellation.check()
    logprobs = [score.logprob for score in _scores(cache, context, target)]
    return math.fsum(logprob for logprob in logprobs if logprob is not None)


def _scores(
    cache: PrefixCache, context: Sequence[int], target: Sequence[int]
) -> Iterator[TokenScore]:
    backend, first = cache.backend, len(context) - 1
    if isinstance(backend, ScoringBackend):
        yield from backend.score_tokens([*context, *target], skip=first, top_n=0)
        return
    waiting = list(target)
    for start, states in cache.hidden_states([*context, *target[:-1]], first):
        states = states[max(0, first - start) :]
        for begin in range(0, len(states), backend.block_rows):
            logits = backend.head(states[begin : begin + backend.block_rows])
            yield from rows_of(logits, waiting[: len(logits)])
            del waiting[: len(logits)]
