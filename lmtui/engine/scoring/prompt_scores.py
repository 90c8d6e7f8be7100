"""Scores of every token of a prompt, and the distribution after it; or of a target.

One prompt is read in parts into a KV cache, from which its continuation can be
generated. Several short ones share one forward pass, as a token tree whose common
beginnings run once. Knows ids only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from lmtui import cancellation
from lmtui.engine.backend import AnyBackend
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.sampling.ranks import to_device
from lmtui.engine.scoring.score import UNSCORED, ScoringBackend, TokenScore, rows_of
from lmtui.engine.token_tree import Tree


@dataclass(frozen=True, slots=True)
class PromptScores:
    """Scores of the tokens of one prompt."""

    rows: tuple[TokenScore, ...]
    after: Tensor
    """Logits [V] of the token after the prompt."""


def score_prompts(
    cache: PrefixCache,
    prompts: Sequence[Sequence[int]],
    *,
    window: int | None,
    top_n: int,
) -> Iterator[PromptScores | None]:
    """Yield the scores of prompts of a token or more, and None after each part of a
    long one. `cache` holds a single one then.

    With a `window`, parts have so many tokens, like those in which a text is scored,
    since other sizes round otherwise; and several prompts run in one forward pass, if
    the backend reads trees. Without one, sizes make no difference, and each prompt runs
    by itself, which is as fast.
    """
    if window and len(prompts) > 1 and cache.backend.reads_trees:
        yield from _score_tree(cache.backend, prompts, top_n)
        return
    for ids in prompts:
        yield from _score_each(cache, ids, window, top_n)


def target_logprob(
    cache: PrefixCache, context: Sequence[int], target: Sequence[int]
) -> float:
    """As `Engine.target_logprob`, of the model whose tokens `cache` holds."""
    cancellation.check()
    backend, ids, first = cache.backend, [*context, *target], len(context) - 1
    rows = list[TokenScore]()
    if isinstance(backend, ScoringBackend):
        rows += backend.score_tokens(ids, skip=first, top_n=0)
    else:
        for start, states in cache.hidden_states(ids[:-1], first):
            wanted = states[max(0, first - start) :]
            end = start + len(states)
            rows += _rows(backend, wanted, ids[end - len(wanted) + 1 : end + 1], 0)
    return math.fsum(row.logprob for row in rows if row.logprob is not None)


def _score_each(
    cache: PrefixCache, ids: Sequence[int], window: int | None, top_n: int
) -> Iterator[PromptScores | None]:
    rows = [UNSCORED]
    # All but the last token, like the score of a text, whose numbers these are.
    if len(ids) > 1:
        parts = cache.hidden_states(ids[:-1], 0, most=window)
        for start, states in parts:
            targets = ids[start + 1 : start + 1 + len(states)]
            rows += _rows(cache.backend, states, targets, top_n)
            yield None
    cache.read(ids)
    assert cache.logits is not None
    yield PromptScores(tuple(rows), cache.logits)


def _score_tree(
    backend: AnyBackend, prompts: Sequence[Sequence[int]], top_n: int
) -> Iterator[PromptScores]:
    """Yield the scores of prompts from one forward pass over their tree."""
    # A fork, since a cache that stays where it is has no room for a tree's mask.
    tree, cache = Tree.of(prompts), backend.new_cache().fork(1)
    states = backend.hidden_states_tree(tree, cache)
    # A row is computed once for each node and each different token that follows it.
    pairs = {
        (node, token): None
        for at, ids in zip(tree.rows, prompts, strict=True)
        for node, token in zip(at, ids[1:], strict=False)
    }
    nodes = to_device([node for node, _ in pairs], states)
    rows = _rows(backend, states[nodes], [token for _, token in pairs], top_n)
    scores = dict(zip(pairs, rows, strict=True))
    after = backend.head(states[to_device(tree.places, states)])
    for index, (at, ids) in enumerate(zip(tree.rows, prompts, strict=True)):
        own = (scores[pair] for pair in zip(at, ids[1:], strict=False))
        yield PromptScores((UNSCORED, *own), after[index])


def _rows(
    backend: AnyBackend, states: Tensor, targets: Sequence[int], top_n: int
) -> Iterator[TokenScore]:
    """Yield the scores of target tokens, given the states [n, width] before them."""
    # The same blocks as those of a whole text: other sizes round otherwise.
    for start in range(0, len(targets), backend.block_rows):
        part = slice(start, start + backend.block_rows)
        yield from rows_of(backend.head(states[part]), targets[part], top_n)
