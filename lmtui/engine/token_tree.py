"""Several continuations of one context as a tree, whose shared beginnings are one.

Owns where each token of each path stands in the tree, so that one pass of a model over
all of its tokens, each seeing its ancestors alone, reads every path. Knows ids only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tree:
    """Tokens, each behind its parent."""

    ids: list[int]
    depths: list[int]
    """How many ancestors each has."""
    seen: Tensor
    """float32 [n, n]: 1 where the token of the row is the one of the column, or comes
    after it."""
    places: list[int]
    """Of the last token of each path."""

    @classmethod
    def of(cls, paths: Iterable[Sequence[int]]) -> Tree:
        """The tree of some paths of a token or more."""
        wanted = [tuple(path) for path in paths]
        beginnings = {
            path[:size]: None for path in wanted for size in range(1, len(path) + 1)
        }
        place = {path: index for index, path in enumerate(beginnings)}
        seen = torch.eye(len(place))
        for path, index in place.items():
            if len(path) > 1:
                seen[index] += seen[place[path[:-1]]]
        return cls(
            ids=[path[-1] for path in place],
            depths=[len(path) - 1 for path in place],
            seen=seen,
            places=[place[path] for path in wanted],
        )
