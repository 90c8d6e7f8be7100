"""Speculative decoding: guess tokens, and verify them in the pass of the last one.

A guess repeats what followed the same few tokens before (prompt lookup decoding, Saxena
2023). Knows ids alone, and no clock, so that a text is guessed in the same way on every
machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, cycle, islice, repeat

from torch import Tensor

from lmtui.engine.prefix_cache import PrefixCache

_LOOKS_BACK = 2048  # last tokens of the context that are searched for a match
_SAME = {16: 0.9, 8: 0.85, 4: 0.6, 3: 0.5, 2: 0.35, 1: 0.15}
"""Initial probability that a guess is right, by the length of the match in tokens,
longest first; the same for code, chats and prose."""
_BEGUN = 8  # weight of that initial value, in tokens
_FORGETS = 0.95  # decay of the hit rate's counts per token


class PromptLookup:
    """Guesses the next tokens of one text.

    Indexes the position after every n-gram of the text, for the lengths n of `_SAME`,
    and keeps a decaying hit rate for each length. The number of guesses is the one that
    is expected to save most passes, given that rate and the passes' costs.
    """

    def __init__(self, costs: Sequence[float], *texts: Iterable[int]) -> None:
        """`costs` are those of running 1, 2, … guesses along with one token (see
        `ModelBackend.extra_token_costs`). `texts` may be repeated; the last one is the
        one that grows."""
        self._costs = costs
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        """Index of the token that last followed an n-gram."""
        # decaying counts, by match length: right guesses, and all guesses
        self._right = {same: share * _BEGUN for same, share in _SAME.items()}
        self._all = dict.fromkeys(_SAME, float(_BEGUN))
        for text in texts:
            for token in text:
                self._put(token)

    def add(self, token: int) -> None:
        """Append a token to the text, and update the hit rate."""
        if match := self._longest_match():
            length, following = match
            right = self._ids[following] == token
            self._right[length] = _FORGETS * self._right[length] + right
            self._all[length] = _FORGETS * self._all[length] + 1
        self._put(token)

    def _put(self, token: int) -> None:
        position = len(self._ids)
        for same in _SAME:
            if position >= same:
                self._after[tuple(self._ids[position - same :])] = position
        self._ids.append(token)

    def guess(self, limit: int) -> Sequence[int]:
        """Return at most `limit` tokens that may come next; none without a match, or
        where guesses do not pay."""
        match = self._longest_match()
        if match is None:
            return ()
        length, following = match
        count = self._best_guess_count(self._right[length] / self._all[length], limit)
        # Past its end, the text is taken to repeat from the match on.
        return list(islice(cycle(self._ids[following:]), count))

    def _longest_match(self) -> tuple[int, int] | None:
        """Return the longest match: its length, and the index of the token that
        followed it."""
        for same in _SAME:
            following = self._after.get(tuple(self._ids[-same:]))
            if following is not None:
                return same, following
        return None

    def _best_guess_count(self, probable: float, limit: int) -> int:
        """Return how many guesses save most passes, if each is right with probability
        `probable` given that those before it are.

        n guesses save Σ probable^i, i = 1 … n, passes and cost `costs[n - 1]` of one.
        """
        costs = self._costs[: max(limit, 0)]
        expected = accumulate(accumulate(repeat(probable, len(costs)), float.__mul__))
        won = [
            0.0,
            *(right - cost for right, cost in zip(expected, costs, strict=True)),
        ]
        return won.index(max(won))


def is_guessing(cache: PrefixCache) -> bool:
    """Return whether tokens are guessed: the cache can drop wrong ones, and right ones
    pay."""
    return cache.can_rollback and bool(cache.backend.extra_token_costs)


class SpeculativeDecoder:
    """Runs the tokens of a generation, each with the guesses that follow it.

    Guesses never change the text: the decode loop draws every token from its own
    logits. If it draws another token than was guessed, the guesses are removed from the
    cache.
    """

    def __init__(
        self, cache: PrefixCache, lookup_ids: Iterable[int], ids: Sequence[int]
    ) -> None:
        """`cache` holds `ids`, the context, and their logits; `lookup_ids` are tokens
        elsewhere that the text may repeat."""
        assert cache.logits is not None
        self._cache, self._lookup_ids = cache, tuple(lookup_ids)
        self._verified = len(ids)  # tokens in the cache that are no mere guesses
        self._guesser = self._guesser_after(ids)
        self._guessed: deque[tuple[int, Tensor]] = deque()
        """Guesses that were run but not yet drawn, with the logits [V] after each."""
        self.logits = cache.logits
        """Logits of the token to be drawn next: float32 [V]."""
        self.is_ahead = False
        """Whether they were computed by a guess that was right."""

    def _guesser_after(self, ids: Sequence[int]) -> PromptLookup | None:
        if not is_guessing(self._cache):
            return None
        texts = self._lookup_ids, ids[-_LOOKS_BACK:]
        return PromptLookup(self._cache.backend.extra_token_costs, *texts)

    def go_back(self, ids: Sequence[int], logits: Tensor) -> None:
        """Go back to `ids`, the beginning of the context; `logits` [V] follow it."""
        self._guessed.clear()
        if self._cache.can_rollback:
            self._cache.rollback(len(ids))
        else:
            self._cache.read(ids)
        self._verified, self._guesser = len(ids), self._guesser_after(ids)
        self.logits, self.is_ahead = logits, False

    def run(self, token: int, limit: int) -> None:
        """Run the drawn `token`, with at most `limit` guesses; sets `logits`."""
        if self._guesser is None:
            (self.logits,) = self._cache.extend([token])
            return
        # 1) A right guess has been run already: its logits are there.
        self._guesser.add(token)
        self.is_ahead = bool(self._guessed) and self._is_right(token)
        if self.is_ahead:
            return
        # 2) Otherwise run the token and new guesses in one pass.
        guess = self._guesser.guess(limit)
        rows = self._cache.extend([token, *guess])
        # Clones, so that keeping one row does not keep the memory of all.
        self.logits, *after = map(Tensor.clone, rows) if guess else rows
        self._verified += 1
        self._guessed.extend(zip(guess, after, strict=True))

    def _is_right(self, token: int) -> bool:
        """Return whether `token` is the next guess, and take its logits; otherwise drop
        all guesses and remove them from the cache."""
        guessed, logits = self._guessed.popleft()
        if guessed == token:
            self.logits = logits
            self._verified += 1
            return True
        self._guessed.clear()
        self._cache.rollback(self._verified)
        return False
