"""Scores of a message while it is written: after a keystroke, only changed tokens run.

The numbers are those of `score`, but the tokens run through the prefix cache instead of
a window of their own. Knows ids only.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmtui.engine.common_prefix import common_prefix_len
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import Stop
from lmtui.engine.score import TokenScore, rows_of

_PART = 64  # tokens whose logits [n, V] are in memory at once


class DraftScorer:
    """Scores a draft after a context, and keeps the rows of the last call."""

    def __init__(self, cache: PrefixCache) -> None:
        self._cache = cache
        self._context: list[int] = []
        self._ids: list[int] = []
        self._rows: list[TokenScore] = []

    def rows(
        self, context: Sequence[int], ids: Sequence[int], *, should_stop: Stop
    ) -> list[TokenScore]:
        """Return one row for each of `ids`, given `context` (at least one token) and
        the tokens before it.

        Raises:
            Cancelled: `should_stop` answered True.
        """
        known = self._known(context, ids)
        self._context, self._ids = list(context), list(ids[:known])
        del self._rows[known:]
        if known == len(ids):
            return list(self._rows)
        self._cache.read([*context, *ids[:known]], should_stop=should_stop)
        while (done := len(self._ids)) < len(ids):
            part = ids[done : done + _PART]
            self._rows += self._read_on(part, should_stop)
            self._ids += part
        return list(self._rows)

    def _known(self, context: Sequence[int], ids: Sequence[int]) -> int:
        """Return how many of the first `ids` have a row that is still valid."""
        if list(context) != self._context:
            return 0
        return common_prefix_len(self._ids, ids)

    def _read_on(self, part: Sequence[int], should_stop: Stop) -> list[TokenScore]:
        before = self._cache.logits
        assert before is not None
        after = self._cache.extend(part, should_stop=should_stop)
        first = list(rows_of(before.unsqueeze(0), part[:1]))
        return [*first, *rows_of(after[:-1], part[1:])]
