"""Scores and states of a text that is being edited.

After an edit, only changed tokens are scored again. The windows and the numbers are
those of `score`. Knows the text only as tokens; `cursor` makes predictions of it.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor

from lmtui.engine.backend import AnyBackend
from lmtui.engine.document.tokenized import Splice, TokenizedDocument
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.sampling.ranks import to_device
from lmtui.engine.scoring.score import UNSCORED, ScoringBackend, TokenScore, rows_of
from lmtui.engine.text.common_prefix import common_prefix_len
from lmtui.engine.text.tokenizer import TextTokenizer
from lmtui.engine.token_tree import Tree
from lmtui.engine.windows import Windows

PART = 128
"""Most tokens that are scored together: twice as many gain only a twentieth, and a part
that a key press cancels is read again."""
_REMOTE_PART = 512  # a server may read all of the text before them again

_STATE_BYTES = 64 * 2**20  # limit of all cached states
_BRANCH_BYTES = 512 * 2**20  # limit of the KV cache of all paths of a batch
_SPARE = 24  # tokens that need room in the context after the typed ones
_TYPED = 16  # most uncached tokens of a cursor that is read in a fork
_LOST = 4  # tokens that may be removed from the cache to read up to a cursor


@dataclass(frozen=True, slots=True)
class ScoredCursor:
    """Tokens that the model reads up to a cursor."""

    start: int
    """Where the piece at the cursor begins, as an offset in code points."""
    index: int
    """Number of tokens before that piece."""
    window: int
    """Index of the first token that is read."""
    context: tuple[int, ...]
    """Ids that are read before the piece: BOS, if the tokenizer adds it, then tokens of
    the text."""
    typed: tuple[int, ...]
    """Tokens of the piece up to the cursor."""
    own: bool
    """Whether the tokens before the piece are also those of the whole text."""


class DocumentScorer:
    """Scores one text after each of its edits, and caches the state that each token is
    predicted from, so that a prediction there runs the head alone."""

    def __init__(
        self,
        backend: AnyBackend,
        cache: PrefixCache,
        tokenizer: TextTokenizer,
        *,
        prefix: tuple[int, ...],
        windows: Windows,
        context: int,
    ) -> None:
        """`prefix` is read before every window; `context` is the most tokens that the
        model can read."""
        self._backend = backend
        self._cache = cache
        self._elsewhere: PrefixCache | None = None
        """Cache for other windows than the one that is being edited."""
        self.prefix = prefix
        self._windows = windows
        self._room = context - len(prefix)
        self._writing = 0  # start of the window that is being edited
        self.document = TokenizedDocument(tokenizer)
        self._rows: list[TokenScore | None] = []
        self._states: OrderedDict[int, Tensor] = OrderedDict()
        """State [width] that the token of each index is predicted from, least recent
        first."""

    def update(self, text: str) -> None:
        """Set the text after an edit, and drop what the edit invalidates."""
        splice = self.document.update(text)
        if not splice.removed and not splice.added:
            return
        # 1) rows of the changed tokens
        first, end = splice.first, splice.first + splice.removed
        self._rows[first:end] = [None] * splice.added
        # 2) rows behind them, up to the first whose whole window is as before
        again = self._unchanged_from(splice)
        stale = min(again, len(self))
        self._rows[first:stale] = [None] * (stale - first)
        # 3) states; the one before the first changed token stays, for it has read only
        # tokens before that
        for index in [i for i in self._states if first < i < again]:
            del self._states[index]

    def __len__(self) -> int:
        return len(self._rows)

    def _unchanged_from(self, splice: Splice) -> int:
        """Return the first token whose window begins after the change and did not
        move."""
        end = splice.first + splice.added
        still = splice.removed == splice.added
        return self._windows.first_from(end) if still else sys.maxsize

    def scored(self, first: int, last: int) -> list[TokenScore]:
        """Return the rows of tokens that are all scored."""
        return [row for row in self._rows[first:last] if row is not None]

    def rows(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Score the tokens from `first` up to `last`; yield where each part begins and
        ends, once all its rows are known.
        """
        size = _REMOTE_PART if self._backend.is_remote else PART
        while first < last:
            window = self._windows.start_of(first)
            end = min(first + size, last, self._windows.last_of(window) + 1)
            self._score(first, end)
            yield first, end
            first = end

    def _score(self, first: int, last: int) -> None:
        """Score those tokens of one window that have no row."""
        missing = [i for i in range(first, last) if self._rows[i] is None]
        if isinstance(self._backend, ScoringBackend) and missing:
            self._ask(self._backend, missing)
            return
        unread = [i for i in missing if not self._is_read(i)]
        if unread:
            self._compute_states(unread[0], unread[-1])
        self._score_states(missing)

    def _ask(self, backend: ScoringBackend, indexes: Sequence[int]) -> None:
        """Let the backend score tokens of one window, and those between them."""
        first, last = indexes[0], indexes[-1]
        if first == 0 and not self.prefix:  # a first token without context
            self._rows[first] = UNSCORED
            first += 1
        if first > last:
            return
        window = self._windows.start_of(first)
        rows = backend.score_tokens(
            [*self.prefix, *self.document.ids(window, last + 1)],
            skip=len(self.prefix) + first - window - 1,
            top_n=0,
        )
        self._rows[first : last + 1] = rows

    def score_read(self, first: int, last: int) -> int | None:
        """Score the tokens whose states are known. Return the first index from which
        all tokens up to `last` are scored, if one of those is new; else None."""
        indexes = range(max(0, first), last)
        new = [i for i in indexes if self._rows[i] is None and self._is_read(i)]
        self._score_states(new)
        gaps = (i + 1 for i in reversed(indexes) if self._rows[i] is None)
        known = next(gaps, max(0, first))
        return next((i for i in new if i >= known), None)

    def _is_read(self, index: int) -> bool:
        return index in self._states or (index == 0 and not self.prefix)

    def _score_states(self, indexes: Sequence[int]) -> None:
        if indexes and indexes[0] not in self._states:  # a first token without context
            self._rows[indexes[0]] = UNSCORED
            indexes = indexes[1:]
        if not indexes:
            return
        logits = self._backend.head(torch.stack([self._states[i] for i in indexes]))
        ids = self.document.ids(indexes[0], indexes[-1] + 1)
        came = [ids[i - indexes[0]] for i in indexes]
        rows = rows_of(logits, came, partial=self._backend.top_logprobs is not None)
        for index, row in zip(indexes, rows, strict=True):
            # A server that does not list a token still scores it when it is asked.
            self._rows[index] = row if row.logprob is not None else None

    def _compute_states(self, first: int, last: int) -> None:
        window = self._windows.start_of(first)
        ids = [*self.prefix, *self.document.ids(window, last)]
        since = len(self.prefix) + first - window - 1
        self._run(self._cache_of(window), ids, since, window=window, own=last)

    def _cache_of(self, window: int) -> PrefixCache:
        """Return the cache for a window: reading other windows must not evict the
        edited one."""
        if window == self._writing:
            return self._cache
        self._elsewhere = self._elsewhere or PrefixCache(self._backend)
        return self._elsewhere

    def _run(
        self,
        cache: PrefixCache,
        ids: Sequence[int],
        first: int,
        *,
        window: int,
        own: int,
    ) -> list[Tensor]:
        """Return the states [width] after each of `ids` from position `first` on; store
        those of the text's own tokens up to index `own`."""
        found: list[Tensor] = []
        moved = window + 1 - len(self.prefix)
        for start, states in cache.hidden_states(ids, first):
            for position, state in enumerate(states, start):
                index = position + moved
                if index <= own and self._belongs(index, window):
                    self._remember(index, state)
                if position >= first:
                    found.append(state)
        return found

    def _belongs(self, index: int, window: int) -> bool:
        return index >= window and self._windows.start_of(index) == window

    def _remember(self, index: int, state: Tensor) -> None:
        self._states[index] = state
        self._states.move_to_end(index)
        if len(self._states) * state.nbytes > _STATE_BYTES:
            self._states.popitem(last=False)

    def scored_cursor(self, cursor: int) -> ScoredCursor:
        """Return what the model reads up to a cursor."""
        before = self.document.before(cursor)
        index = before.shared + len(before.ids)
        window = self._window(index, index + len(before.typed_ids))
        shared = self.document.ids(min(window, before.shared), before.shared)
        ids = before.ids[max(0, window - before.shared) :]
        return ScoredCursor(
            start=before.start,
            index=index,
            window=window,
            context=(*self.prefix, *shared, *ids),
            typed=before.typed_ids,
            own=list(before.ids) == self.document.ids(before.shared, index),
        )

    def _window(self, index: int, end: int) -> int:
        """Return the start of the window that holds `index` and the typed tokens up to
        `end`: the window of `score`, unless it leaves no room."""
        window = self._windows.start_of(index)
        if end + _SPARE - window <= self._room:
            return window
        return min(self._windows.start_of(end + _SPARE), max(0, index - 1))

    def known_at(self, cursor: ScoredCursor) -> list[Tensor]:
        """Return the leading states of `states_at` that are cached."""
        own = self._last_read(cursor)
        first = cursor.index if cursor.context else 1
        indexes = range(first, min(own, cursor.index + len(cursor.typed)) + 1)
        return [self._states[i] for i in takewhile(self._states.__contains__, indexes)]

    def states_at(self, cursor: ScoredCursor) -> list[Tensor]:
        """Return the states [width] after the context of a cursor and after each
        typed token.
        """
        # 1) those that are cached
        known = self.known_at(cursor)
        ids = [*cursor.context, *cursor.typed]
        since = max(0, len(cursor.context) - 1) + len(known)
        if since == len(ids):
            return known
        # 2) in a fork, where the cache would lose the text behind the cursor
        if self._reads_in_fork(ids, cursor.window):
            held, keep = self._cache.rollback_len(since), len(ids) - since
            forked = self._cache.fork(1, held)
            seen = self._backend.hidden_states(ids[held:], forked, keep=keep)
            return [*known, *seen]
        # 3) else in the cache itself, which is then where the user types
        self._writing, own = cursor.window, self._last_read(cursor)
        new = self._run(self._cache, ids, since, window=cursor.window, own=own)
        return [*known, *new]

    def _reads_in_fork(self, ids: Sequence[int], window: int) -> bool:
        """Return whether `ids` should be read in a fork: reading them in the cache
        itself would remove many tokens of the text, which a later cursor needs."""
        cache, text = self._cache, self.document
        common = cache.common(ids)
        held = cache.rollback_len(common)
        if held < len(ids) - 1 - _TYPED or not held:
            return False
        read = [*self.prefix, *text.ids(window, window + len(cache.ids))]
        return cache.common(read) > common + _LOST

    def _last_read(self, cursor: ScoredCursor) -> int:
        """Return the last index whose state is computed on the way to a cursor; -1
        for none."""
        if not (cursor.own and self._belongs(cursor.index, cursor.window)):
            return -1
        ids = self.document.ids(cursor.index, cursor.index + len(cursor.typed))
        same = common_prefix_len(ids, cursor.typed)
        last = self._windows.last_of(cursor.window)
        return min(cursor.index + same, last)

    def read(self, context: Sequence[int], extra_ids: Sequence[int]) -> list[Tensor]:
        """Return the states [width] after any context (a token or more), and after each
        of `extra_ids`.
        """
        ids, since = [*context, *extra_ids], len(context) - 1
        return self._run(self._cache, ids, since, window=0, own=-1)

    @property
    def branches(self) -> bool:
        """Whether several paths can be read after one context."""
        return self._cache.can_fork

    def hidden_states_after(
        self, context: Sequence[int], paths: Sequence[Sequence[int]]
    ) -> list[Tensor]:
        """Return the state [width] after a context (a token or more) and each of some
        paths, for a model that `branches`. The cache keeps the context.
        """
        cache = self._cache
        if cache.rollback_len(cache.common(context)) < len(context):
            cache.read(context)
        if self._backend.reads_trees:
            tree, forked = Tree.of(paths), cache.fork(1, len(context))
            read = self._backend.hidden_states_tree(tree, forked)
            return list(read[to_device(tree.places, read)])
        states: list[Tensor] = []
        most = max(1, _BRANCH_BYTES // max(1, cache.row_bytes))
        for start in range(0, len(paths), most):
            some = paths[start : start + most]
            forked = cache.fork(len(some), len(context))
            states += self._backend.hidden_states_after(some, forked)
        return states
