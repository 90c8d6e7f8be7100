"""Teacher-forced scores of several continuations of one context.

Where the model reads token trees, many paths share one forward pass, and shared
beginnings run once; otherwise each path runs by itself, with the same numbers. Knows
ids only; V is the size of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from lmtui.engine import sampling
from lmtui.engine.backends.base import AnyBackend, not_a_distribution
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import Stop
from lmtui.engine.score import ScoringBackend
from lmtui.engine.token_tree import Tree
from lmtui.errors import Cancelled

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


def reads_trees(backend: AnyBackend, cache: PrefixCache) -> bool:
    """Return whether many paths after one context cost little more than their
    tokens."""
    return backend.reads_trees and cache.can_rollback


def score_paths(
    backend: AnyBackend,
    cache: PrefixCache,
    paths: Sequence[Sequence[int]],
    *,
    should_stop: Stop,
) -> Iterator[list[PathScore]]:
    """Yield the scores of all paths, in order, some at a time. A path is a token or
    more that continue the context in `cache`, which does not change.

    Raises:
        Cancelled: `should_stop` answered True.
    """
    if isinstance(backend, ScoringBackend) and backend.listed:
        for path in paths:
            yield [_asked(backend, cache.ids, path, should_stop)]
        return
    assert cache.logits is not None
    first = cache.logits.unsqueeze(0)  # [1, V]
    trees = reads_trees(backend, cache)
    for some in _parts(paths) if trees else ([path] for path in paths):
        if should_stop():
            raise Cancelled
        if trees:
            tree, forked = Tree.of(some), cache.fork(1)
            states = backend.hidden_states_tree(tree, forked, should_stop=should_stop)
            blocks = map(backend.head, torch.split(states, _ROWS))
            yield _scores(some, tree.rows, chain([first], blocks))
        else:
            logits = _alone(backend, cache, some[0], should_stop)
            yield _scores(some, [list(range(len(logits)))], [first, logits])


def _asked(
    backend: ScoringBackend,
    context: Sequence[int],
    path: Sequence[int],
    should_stop: Stop,
) -> PathScore:
    """Score one path whose tokens a server need not list; those after it are listed."""
    ids = [*context, *path]
    rows = backend.score_tokens(
        ids, skip=len(context) - 1, top_n=0, should_stop=should_stop
    )
    logprobs = tuple(row.logprob or 0.0 for row in rows)
    return PathScore(logprobs, backend.logits(ids, should_stop=should_stop)[-1])


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


def _alone(
    backend: AnyBackend, cache: PrefixCache, path: Sequence[int], should_stop: Stop
) -> Tensor:
    """Return the logits [n, V] after each token of one path."""
    forked = cache.fork(1)
    before = cache.ids if forked is None else []
    return backend.logits(
        [*before, *path], forked, keep=len(path), should_stop=should_stop
    )


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
        logprobs = block.log_softmax(-1)
        end = start + len(block)
        here = (own >= start) & (own < end)
        at = sampling.to_device(own[here] - start, block)
        scored[here] = logprobs[at, sampling.to_device(ids[here], block)].cpu()
        ends = sorted({row for row in last if start <= row < end})
        rest = logprobs[sampling.to_device([row - start for row in ends], block)]
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
