"""Teacher forcing: score every token of a given text.

Each window runs the layers once; memory does not grow with tokens × vocabulary. Knows
ids only, no text and no bytes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lmtui.engine.backend import AnyBackend, not_a_distribution
from lmtui.engine.sampling.listed_rows import listed_scores
from lmtui.engine.sampling.ranks import rank, to_cpu, to_device
from lmtui.engine.softmax import (
    blocks,
    log_normaliser,
    log_normaliser_and_moments,
    logprobs_of,
)
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.partial import Entropy, Rank


@dataclass(frozen=True, slots=True)
class TokenScore:
    """Scores of one token of a text."""

    logprob: float | None
    """None for a first token without context; so are rank and entropy."""
    rank: Rank | None
    entropy: Entropy | None
    top: tuple[tuple[int, float], ...] = ()
    """(id, logprob) of the most probable tokens, by (-logit, id)."""
    word_end: float | None = None
    """As in `ScoredToken`."""
    varentropy: float | None = None
    """As in `ScoredToken`."""


@runtime_checkable
class ScoringBackend(Protocol):
    """Backend that scores tokens itself, without handing out their logits."""

    @property
    def scores_prompts(self) -> bool:
        """Whether it can; some servers can't."""

    def score_tokens(
        self, ids: Sequence[int], *, skip: int, top_n: int
    ) -> Iterator[TokenScore]:
        """Yield the scores of all of `ids` but the first `skip` + 1."""


UNSCORED = TokenScore(None, None, None)
"""Row of a token without a distribution."""


def score_rows(
    backend: AnyBackend,
    ids: Sequence[int],
    *,
    prefix: Sequence[int],
    windows: Windows,
    start: int = 0,
    top_n: int = 0,
    boundaries: Tensor | None = None,
) -> Iterator[TokenScore]:
    """Yield one row per token of `ids`, in order, from `start` on, the first token that
    is scored in a window; `prefix` begins every window. `boundaries` are the ids whose
    probability together is the `word_end` of a row.

    Raises:
        LmtuiError: the server can't score a text.
    """
    for begin, end, first in windows.over(len(ids)):
        if first < start:
            continue
        read = [*prefix, *ids[begin:end]]
        # The row at position i of `read` is the distribution of read[i + 1].
        targets = read[1:]
        skipped = len(prefix) + first - begin - 1  # rows of tokens not scored here
        if skipped < 0:
            yield UNSCORED
            skipped = 0
        # A server's own scores leave out where words end: that takes its logits.
        if isinstance(backend, ScoringBackend) and boundaries is None:
            yield from backend.score_tokens(read, skip=skipped, top_n=top_n)
            continue
        position = 0
        for block in backend.all_logits(read[:-1], skip=skipped):
            at = skipped + position
            own = targets[at : at + block.shape[0]]
            yield from rows_of(block, own, top_n, boundaries=boundaries)
            position += block.shape[0]


def word_boundaries(
    backend: AnyBackend, spaces: Sequence[int], end_ids: Collection[int]
) -> Tensor:
    """Return the ids of the tokens before which a word ends: those that begin with
    white space, and those that end a text.

    Raises:
        LmtuiError: it can't be known that a word ends.
    """
    top = backend.top_logprobs
    if top is not None or not spaces:
        raise LmtuiError(
            "the words of a text can't be scored with this model",
            f"its server lists only the {top} most probable tokens"
            if spaces
            else "none of its tokens begins with white space",
            "Use another model, or --json for the numbers of each token.",
        )
    return torch.tensor(sorted({*spaces, *end_ids}))


def rows_of(
    block: Tensor,
    targets: Sequence[int],
    top_n: int = 0,
    *,
    partial: bool = False,
    boundaries: Tensor | None = None,
) -> Iterator[TokenScore]:
    """Yield the rows of n target tokens, given the logits [n, V] they are predicted
    from. With `partial`, only some tokens of each row are listed; other targets have no
    logprob then. `boundaries` are those of `score_rows`.

    Raises:
        LmtuiError: the logits are no distribution.
    """
    if partial:
        yield from (TokenScore(*score) for score in listed_scores(block, targets))
        return
    own = block.gather(1, to_device(targets, block).unsqueeze(1))  # [n, 1]
    normaliser, *moments = log_normaliser_and_moments(block)
    best: list[Tensor] = []
    if top_n:
        ids, values = rank(block, top_n)
        best = [ids, logprobs_of(values, normaliser)]
    word_ends: list[Tensor] = []
    if boundaries is not None:
        ending = block[:, to_device(boundaries, block)]  # [n, boundaries]
        word_ends = [log_normaliser(ending) - normaliser]
    logprobs = logprobs_of(own, normaliser).squeeze(1)
    numbers = to_cpu(logprobs, _ranks(block, own), *moments, *best, *word_ends)
    logprob, ranks, entropies, varentropies, *tops = (
        number.tolist() for number in numbers
    )
    ends = tops.pop() if word_ends else [None] * len(block)
    if any(map(math.isnan, logprob)):
        raise not_a_distribution()
    tokens = _pairs(*tops) if top_n else [()] * len(block)
    yield from map(TokenScore, logprob, ranks, entropies, tokens, ends, varentropies)


def _ranks(block: Tensor, own: Tensor) -> Tensor:
    """Return the ranks [n] of logits [n, 1] among those of their rows [n, V]."""
    parts = blocks(block)
    # As float32, in memory that is used again: sums of booleans take four times longer.
    above = torch.empty_like(parts[0])
    counts = [
        torch.gt(rows, own_logits, out=above[: len(rows)]).sum(1)
        for rows, own_logits in zip(
            parts, torch.split(own, len(parts[0]) or 1), strict=True
        )
    ]
    return torch.cat(counts).long() + 1  # exact in float32: counts are below 2^24


def _pairs(
    ids: list[list[int]], logprobs: list[list[float]]
) -> list[tuple[tuple[int, float], ...]]:
    both = zip(ids, logprobs, strict=True)
    return [tuple(zip(*pair, strict=True)) for pair in both]
