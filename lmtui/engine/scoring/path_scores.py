"""Teacher-forced scores of several continuations of one context.

Where the model reads token trees, many paths share one forward pass, and shared
beginnings run once; otherwise each path runs by itself, with the same numbers. Knows
ids only; V is the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lmtui import cancellation
from lmtui.engine.backend import not_a_distribution
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.sampling.ranks import to_device
from lmtui.engine.softmax import log_normaliser, logprobs_of
from lmtui.engine.token_tree import Tree

TREE_TOKENS = 256
"""Tokens of one tree, about: attention costs its square, and a stop waits for it."""
_ROWS = 64  # rows of logits in memory at once


@dataclass(frozen=True, slots=True)
class PathScore:
    """Scores of one path after the context."""

    logprobs: tuple[float, ...]
    """Natural log of the probability of each of its tokens."""
    after: Tensor
    """Logprobs [V] of the token after the path, in main memory."""


@runtime_checkable
class PathBackend(Protocol):
    """Backend that scores paths itself, since its rows of logits do not tell all."""

    def score_paths(
        self, context: Sequence[int], paths: Sequence[Sequence[int]]
    ) -> list[tuple[list[float], Tensor]]:
        """Return the log-probability of each token of some paths after `context`, and
        the logits [V] after each path.
        """


def reads_trees(cache: PrefixCache) -> bool:
    """Return whether many paths after one context cost little more than their
    tokens."""
    return cache.backend.reads_trees and cache.can_rollback


def score_paths(
    cache: PrefixCache, paths: Sequence[Sequence[int]]
) -> Iterator[list[PathScore]]:
    """Yield the scores of all paths, in order, some at a time. A path is a token or
    more that continue the context in `cache`, which does not change.
    """
    backend = cache.backend
    if isinstance(backend, PathBackend):
        for some in _parts(paths):
            rows = backend.score_paths(cache.ids, some)
            yield [PathScore(tuple(logprobs), after) for logprobs, after in rows]
        return
    assert cache.logits is not None
    first = cache.logits.unsqueeze(0)  # [1, V]
    trees = reads_trees(cache)
    for some in _parts(paths) if trees else ([path] for path in paths):
        cancellation.check()
        if trees:
            tree, forked = Tree.of(some), cache.fork(1)
            states = backend.hidden_states_tree(tree, forked)
            blocks = map(backend.head, torch.split(states, _ROWS))
            yield _scores(some, tree.rows, chain([first], blocks))
        else:
            forked = cache.fork(1)
            before = cache.ids if forked is None else []
            path = some[0]
            logits = backend.logits([*before, *path], forked, keep=len(path))
            yield _scores(some, [list(range(len(logits)))], [first, logits])


def _parts(paths: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Cut the paths into parts of about `TREE_TOKENS` tokens, at least one path."""
    part: list[Sequence[int]] = []
    size = 0
    for path in paths:
        if part and size + len(path) > TREE_TOKENS:
            yield part
            part, size = [], 0
        part.append(path)
        size += len(path)
    if part:
        yield part


def _scores(
    paths: Sequence[Sequence[int]],
    rows: Sequence[Sequence[int]],
    blocks: Iterable[Tensor],
) -> list[PathScore]:
    """Score paths, given blocks of logits [n, V]: first those after the context, then
    those after each token that was run. `rows` are the indexes of each path's tokens
    among these."""
    # 1) the row that each token is predicted from, and the row after each path
    ids = torch.tensor([token for path in paths for token in path])
    own = torch.tensor([row for at in rows for row in (0, *(i + 1 for i in at[:-1]))])
    last = [at[-1] + 1 for at in rows]
    # 2) logprobs of the tokens, block by block
    scored = torch.zeros(len(ids))
    after: dict[int, Tensor] = {}
    start = 0
    for block in blocks:
        normaliser = log_normaliser(block)
        end = start + len(block)
        here = (own >= start) & (own < end)
        at = to_device(own[here] - start, block)
        logits = block[at, to_device(ids[here], block)].unsqueeze(1)
        scored[here] = logprobs_of(logits, normaliser[at]).squeeze(1).cpu()
        ends = sorted({row for row in last if start <= row < end})
        at = to_device([row - start for row in ends], block)
        rest = logprobs_of(block[at], normaliser[at])
        after.update(zip(ends, rest.cpu(), strict=True))
        start = end
    if bool(scored.isnan().any()):
        raise not_a_distribution()
    # 3) per path
    parts = torch.split(scored, [len(path) for path in paths])
    return [
        PathScore(tuple(part.tolist()), after[row])
        for part, row in zip(parts, last, strict=True)
    ]
