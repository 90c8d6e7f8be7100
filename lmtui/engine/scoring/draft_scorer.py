"""Scores of a message while it is written: after a keystroke, only changed tokens run.

The numbers are those of `score`, but the tokens run through the prefix cache instead of
a window of their own. Knows ids only.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.scoring.score import ScoringBackend, TokenScore, rows_of
from lmtui.engine.text.common_prefix import common_prefix_len

_PART = 64  # tokens whose logits [n, V] are in memory at once
_RECENT = 8  # tokens of a word, about


class DraftScorer:
    """Scores a draft after a context, and keeps the rows of the last call."""

    def __init__(self, cache: PrefixCache) -> None:
        self._cache = cache
        self._context: list[int] = []
        self._ids: list[int] = []
        self._rows: list[TokenScore] = []
        # Logits [V] after the first n tokens of the draft, for the last few n: a key
        # within a word changes its tokens, and the ones before need not run again.
        self._after: dict[int, Tensor] = {}

    def rows(self, context: Sequence[int], ids: Sequence[int]) -> list[TokenScore]:
        """Return one row for each of `ids`, given `context` (at least one token) and
        the tokens before it.
        """
        known = self._valid_rows(context, ids)
        self._context, self._ids = list(context), list(ids[:known])
        del self._rows[known:]
        if known == len(ids):
            return list(self._rows)
        backend = self._cache.backend
        if isinstance(backend, ScoringBackend) and backend.top_logprobs:
            # The server scores tokens that it does not list, too.
            read, skip = [*context, *ids], len(context) + known - 1
            self._rows += backend.score_tokens(read, skip=skip, top_n=0)
            self._ids = list(ids)
            return list(self._rows)
        before = self._logits_after([*context, *ids[:known]], known)
        while (done := len(self._ids)) < len(ids):
            part = ids[done : done + _PART]
            after = self._cache.extend(part)
            last = max(0, len(part) - _RECENT)
            self._after |= enumerate(after[last:].clone(), done + last + 1)
            self._rows += rows_of(before.unsqueeze(0), part[:1])
            self._rows += rows_of(after[:-1], part[1:])
            self._ids += part
            before = after[-1]
        return list(self._rows)

    def _logits_after(self, read: Sequence[int], known: int) -> Tensor:
        """Make the cache hold `read`, which ends with `known` tokens of the draft, and
        return the logits [V] after it."""
        cache = self._cache
        recent = sorted(n for n in self._after if n <= known)[-_RECENT:]
        self._after = {n: self._after[n] for n in recent}
        is_there = cache.can_rollback and cache.common(read) == len(read)
        if is_there and known in self._after:
            cache.rollback(len(read))
            return self._after[known]
        cache.read(read)
        assert cache.logits is not None
        self._after[known] = cache.logits
        return cache.logits

    def _valid_rows(self, context: Sequence[int], ids: Sequence[int]) -> int:
        """Return how many of the first `ids` have a row that is still valid."""
        if list(context) != self._context:
            self._after.clear()
            return 0
        return common_prefix_len(self._ids, ids)
