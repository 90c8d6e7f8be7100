"""Batched greedy decoding of several branches of one context.

All rows share the context in the KV cache, and each step runs one token of every row.
Where the model's state can't be copied, branches run one after the other, with the same
numbers. Knows ids only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from lmtui import cancellation
from lmtui.engine.backends.base import AnyBackend
from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.sampling.penalties import masked
from lmtui.engine.sampling.ranks import to_cpu
from lmtui.engine.score import TokenScore, rows_of

MOST = 16
"""Most branches of one call."""

_BATCH_BYTES = 1 << 30  # limit of the KV cache of all rows together


GoesOn = Callable[[int, int, TokenScore], bool]
"""Called with a branch's index, a greedy token and its row; whether the branch goes on
after it."""
Mask = Callable[[int], Tensor | None]
"""Called with a branch's index before a greedy token; which tokens are allowed, bool
[V] in main memory, or None for all."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """One branch: its given beginning, then greedy tokens."""

    ids: tuple[int, ...]
    rows: tuple[TokenScore, ...]
    """Scores of each token."""


def decode_batch(
    backend: AnyBackend,
    cache: PrefixCache,
    begins: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    end_ids: frozenset[int] = frozenset(),
    goes_on: GoesOn = lambda branch, token, row: True,
    mask: Mask = lambda branch: None,
) -> list[Continuation]:
    """Continue the context in `cache`, a token or more, in several branches.

    Each branch begins with one of `begins` (a token or more) and goes on with
    `max_new_tokens` greedy tokens among those that `mask` allows, or up to the first of
    `end_ids`, or to where `goes_on` answers False. The cache does not change, except
    for a model whose state can't be copied: it then holds the last branch, or nothing.
    """
    if len(begins) > MOST:
        raise ValueError(f"{len(begins)} branches")
    growing = [
        _Growing(
            begin,
            max_new_tokens,
            end_ids,
            goes_on=partial(goes_on, index),
            mask=partial(mask, index),
        )
        for index, begin in enumerate(begins)
    ]
    if cache.fork(1) is None:
        _one_by_one(cache, growing)
    else:
        for some in _batches(growing, cache):
            _side_by_side(backend, cache, some)
    return [Continuation(tuple(g.ids), tuple(g.rows)) for g in growing]


class _Growing:
    """Branch that is being decoded."""

    def __init__(
        self,
        begin: Sequence[int],
        max_new_tokens: int,
        end_ids: frozenset[int],
        *,
        goes_on: Callable[[int, TokenScore], bool],
        mask: Callable[[], Tensor | None],
    ) -> None:
        self._begin = begin
        self._length = len(begin) + max_new_tokens
        self._end_ids = end_ids
        self._goes_on = goes_on
        self._mask = mask
        self._ended = False
        self.ids: list[int] = []
        self.rows: list[TokenScore] = []

    @property
    def done(self) -> bool:
        """Whether it needs no more tokens."""
        return self._ended or len(self.ids) >= self._length

    @property
    def given(self) -> int | None:
        """The next token of the given beginning; None after it."""
        made = len(self.ids)
        return self._begin[made] if made < len(self._begin) else None

    def mask(self) -> Tensor | None:
        """Return which tokens the next one is chosen from, bool [V]; None for all."""
        return None if self.done or self.given is not None else self._mask()

    def add(self, token: int, row: TokenScore) -> None:
        """Append a token, unless the branch is done."""
        if self.done:
            return
        self.ids.append(token)
        self.rows.append(row)
        more = len(self.ids) - len(self._begin)
        if more >= 0 and token in self._end_ids:
            self._ended = True
        elif more > 0:
            self._ended = not self._goes_on(token, row)


def _batches(growing: list[_Growing], cache: PrefixCache) -> Iterator[list[_Growing]]:
    """Yield batches of branches, as many at once as the memory limit allows."""
    most = max(1, _BATCH_BYTES // max(1, cache.row_bytes))
    return (growing[i : i + most] for i in range(0, len(growing), most))


def _side_by_side(
    backend: AnyBackend, cache: PrefixCache, growing: list[_Growing]
) -> None:
    forked = cache.fork(len(growing))
    assert forked is not None
    assert cache.logits is not None
    logits = cache.logits.expand(len(growing), -1)  # [n, V], n branches
    while True:
        tokens = _step(growing, logits, backend.listed)
        going = [row for row, branch in enumerate(growing) if not branch.done]
        if not going:
            return
        cancellation.check()
        # Once half of the branches are done, copying the others' cache pays.
        if len(going) <= len(growing) // 2:
            growing, tokens = [growing[i] for i in going], [tokens[i] for i in going]
            forked.select_rows(going)
        logits = backend.next_logits(tokens, forked)


def _one_by_one(cache: PrefixCache, growing: list[_Growing]) -> None:
    context = list(cache.ids)
    for branch in growing:
        cache.read(context)
        assert cache.logits is not None
        logits = cache.logits.unsqueeze(0)  # [1, V]
        while True:
            tokens = _step([branch], logits, cache.backend.listed)
            if branch.done:
                break
            cancellation.check()
            logits = cache.extend(tokens)


def _step(growing: list[_Growing], logits: Tensor, listed: int | None) -> list[int]:
    """Choose each branch's token from its row of logits [n, V]: the given one, or the
    most probable."""
    given = [branch.given for branch in growing]
    chosen_from = logits
    for place, branch in enumerate(growing):
        if (mask := branch.mask()) is not None:
            if chosen_from is logits:
                chosen_from = logits.clone()
            chosen_from[place] = masked(logits[place], mask)
    best = [0] * len(given)
    if None in given:
        best = to_cpu(chosen_from.argmax(-1))[0].tolist()
    tokens = [b if a is None else a for a, b in zip(given, best, strict=True)]
    rows = rows_of(logits, tokens, listed=listed)
    for branch, token, row in zip(growing, tokens, rows, strict=True):
        branch.add(token, row)
    return tokens
