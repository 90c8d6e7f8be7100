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
        return len(self.rows[0])

    def crop(self, length: int) -> None:
        for row in self.rows:
            del row[length:]

    def fork(self, rows: int, length: int | None = None) -> IdsKVCache:
        return IdsKVCache([self.rows[0][:length] for _ in range(rows)])

    def select_rows(self, rows: Sequence[int]) -> None:
        self.rows = [self.rows[row] for row in rows]
