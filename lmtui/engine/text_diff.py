"""What differs between a text and the text that it became.

Owns the comparison: one stretch was replaced by another, as short as can be. Cheap for
long texts, of which whole parts are compared at once. Torch-free; knows strings only.
"""

from __future__ import annotations

from collections.abc import Callable


def changed(old: str, new: str) -> tuple[int, int, int]:
    """Where two texts begin to differ, and where in each they stop to."""
    shorter = min(len(old), len(new))
    first = _most(shorter, lambda low, high: old[low:high] == new[low:high])

    def same_end(low: int, high: int) -> bool:
        return (
            old[len(old) - high : len(old) - low]
            == new[len(new) - high : len(new) - low]
        )

    tail = _most(shorter - first, same_end)
    return first, len(old) - tail, len(new) - tail


def _most(most: int, same: Callable[[int, int], bool]) -> int:
    """How far two texts are the same, at most `most`: halves what is left."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if same(low, middle):
            low = middle
        else:
            high = middle - 1
    return low
