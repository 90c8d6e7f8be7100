"""Token ids of one text that grows at its end, as an array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def ids_array(ids: Sequence[int]) -> Ids:
    """Return ids as an array, int64 [n]."""
    return np.array(ids, dtype=np.int64)


class GrowingIds:
    """Array of ids that grows by doubling. Earlier views of it stay as they are."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = ids_array(ids)
        self._length = len(ids)

    def append(self, *ids: int) -> None:
        needed = self._length + len(ids)
        if needed > len(self._ids):
            larger = np.empty(max(2 * len(self._ids), needed, 64), dtype=np.int64)
            larger[: self._length] = self._ids[: self._length]
            self._ids = larger
        self._ids[self._length : needed] = ids
        self._length = needed

    def view(self) -> Ids:
        """Return the ids so far, int64 [n], without a copy."""
        return self._ids[: self._length]
