"""KV cache of a model that has no keys and values here: the ids alone."""

from __future__ import annotations

from collections.abc import Sequence


class IdsKVCache:
    """Tokens of one or more rows."""

    row_bytes = 0

    def __init__(self, rows: list[list[int]]) -> None:
        self.rows = rows

    @property
    def length(self) -> int:
        """Number of tokens of a row."""
        return len(self.rows[0])

    def crop(self, length: int) -> None:
        """Keep only the first `length` tokens."""
        for row in self.rows:
            del row[length:]

    def fork(self, rows: int, length: int | None = None) -> IdsKVCache:
        """Return `rows` rows of the first `length` tokens of this row, or of all."""
        return IdsKVCache([self.rows[0][:length] for _ in range(rows)])

    def select_rows(self, rows: Sequence[int]) -> None:
        """Keep only these rows."""
        self.rows = [self.rows[row] for row in rows]
