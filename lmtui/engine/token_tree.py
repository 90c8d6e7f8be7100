"""Token tree: several continuations of one context, with shared prefixes merged.

One forward pass over its tokens, each of which attends to its ancestors alone, computes
every path. Knows ids only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Tree:
    """Tokens of a tree; a parent comes before its children."""

    ids: list[int]
    depths: list[int]
    """Number of ancestors of each token."""
    seen: Tensor
    """Attention mask, float32 [n, n]: 1 where the column's token is the row's token or
    one of its ancestors, else 0."""
    rows: list[list[int]]
    """Indexes of the tokens of each path."""

    @classmethod
    def of(cls, paths: Iterable[Sequence[int]]) -> Tree:
        """Build the tree of some paths of at least one token."""
        wanted = [tuple(path) for path in paths]
        beginnings = {
            path[:size]: None for path in wanted for size in range(1, len(path) + 1)
        }
        row_of = {path: index for index, path in enumerate(beginnings)}
        seen = torch.eye(len(row_of))
        for path, index in row_of.items():
            if len(path) > 1:
                seen[index] += seen[row_of[path[:-1]]]
        return cls(
            ids=[path[-1] for path in row_of],
            depths=[len(path) - 1 for path in row_of],
            seen=seen,
            rows=[
                [row_of[path[:size]] for size in range(1, len(path) + 1)]
                for path in wanted
            ],
        )

    @property
    def places(self) -> list[int]:
        """Index of the last token of each path."""
        return [row[-1] for row in self.rows]
