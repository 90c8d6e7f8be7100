"""Difference between two versions of a text, as the shortest replaced span.

Fast for long texts, since whole slices are compared. Torch-free; knows strings only.
"""

from __future__ import annotations

from collections.abc import Callable


def changed(old: str, new: str) -> tuple[int, int, int]:
    """Return where two texts begin to differ, and where in each the difference ends."""
    shorter = min(len(old), len(new))
    first = _longest_equal(shorter, lambda low, high: old[low:high] == new[low:high])

    def same_end(low: int, high: int) -> bool:
        return (
            old[len(old) - high : len(old) - low]
            == new[len(new) - high : len(new) - low]
        )

    tail = _longest_equal(shorter - first, same_end)
    return first, len(old) - tail, len(new) - tail


def _longest_equal(limit: int, same: Callable[[int, int], bool]) -> int:
    """Return the length, at most `limit`, up to which `same` is true, by bisection."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if same(low, middle):
            low = middle
        else:
            high = middle - 1
    return low
