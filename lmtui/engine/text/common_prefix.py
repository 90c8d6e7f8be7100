"""Length of the common prefix of two sequences of ids."""

from __future__ import annotations

from collections.abc import Sequence


def common_prefix_len(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many of the first ids are the same in both."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
