"""Speculation: the next few tokens are guessed, and run together with the last one.

Owns where a guess comes from, what becomes of it, and how long one pays. What came
after the same few tokens the last time is what is guessed (prompt lookup decoding,
Saxena 2023); how often that was right of late, for so many same tokens, is how probable
it is to be right again. A guess decides nothing: the decode loop draws every token from
its own logits as ever, and those after a guess that was wrong are dropped. Knows ids
alone, and no clock, so that the same text is guessed at in the same way on every
machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate, cycle, islice, repeat

from torch import Tensor

from lmtui.engine.prefix_cache import PrefixCache
from lmtui.engine.protocol import Stop

_LOOKS_BACK = 2048  # tokens of what is gone on from that a guess is looked for in
_SAME = {16: 0.9, 8: 0.85, 4: 0.6, 3: 0.5, 2: 0.35, 1: 0.15}
"""How probable the next token is to be the same again, after so many of the same, in
code, chats and prose alike: where it is begun from."""
_BEGUN = 8  # tokens that this counts for
_FORGETS = 0.95  # how much each token before still counts at the next one


class PromptLookup:
    """Guesses at how one text goes on."""

    def __init__(self, costs: Sequence[float], *texts: Iterable[int]) -> None:
        """`costs` are those of running 1, 2, … guesses along, in passes over one token;
        `texts` what may be repeated, the last one is the one that grows."""
        self._costs = costs
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        """Where the token stands that last came after some tokens."""
        self._right = {same: share * _BEGUN for same, share in _SAME.items()}
        self._all = dict.fromkeys(_SAME, float(_BEGUN))
        for text in texts:
            for token in text:
                self._put(token)

    def add(self, token: int) -> None:
        """The text has one more token."""
        if found := self._again():
            same, place = found
            right = self._ids[place] == token
            self._right[same] = _FORGETS * self._right[same] + right
            self._all[same] = _FORGETS * self._all[same] + 1
        self._put(token)

    def _put(self, token: int) -> None:
        place = len(self._ids)
        for same in _SAME:
            if place >= same:
                self._after[tuple(self._ids[place - same :])] = place
        self._ids.append(token)

    def guess(self, most: int) -> Sequence[int]:
        """The tokens that may come next, of at most so many; none where nothing is
        known, or where guesses do not pay."""
        found = self._again()
        if found is None:
            return ()
        same, place = found
        count = self._pays(self._right[same] / self._all[same], most)
        return list(islice(cycle(self._ids[place:]), count))  # and then that again

    def _again(self) -> tuple[int, int] | None:
        """How many last tokens were there before, and where the next one stands."""
        for same in _SAME:
            place = self._after.get(tuple(self._ids[-same:]))
            if place is not None:
                return same, place
        return None

    def _pays(self, probable: float, most: int) -> int:
        """How many guesses win most, of which each is right so probably if those before
        it were: they win as many passes as are expected to be right."""
        costs = self._costs[: max(most, 0)]
        expected = accumulate(accumulate(repeat(probable, len(costs)), float.__mul__))
        won = [
            0.0,
            *(right - cost for right, cost in zip(expected, costs, strict=True)),
        ]
        return won.index(max(won))


class SpeculativeDecoder:
    """Runs the tokens of a generation, and guesses with them."""

    def __init__(
        self, cache: PrefixCache, beside: Iterable[int], ids: Sequence[int]
    ) -> None:
        """`cache` holds `ids`, what is gone on from, with the logits after them;
        `beside` are tokens elsewhere that may be repeated."""
        assert cache.logits is not None
        self._cache = cache
        self._held = len(ids)  # tokens in the cache that no guess is among
        texts = beside, ids[-_LOOKS_BACK:]
        self._guesser = (
            PromptLookup(cache.guess_costs, *texts) if cache.takes_back else None
        )
        self._guessed: deque[tuple[int, Tensor]] = deque()
        """What was guessed and run, with the logits after it."""
        self.logits = cache.logits
        """float32 [V], of the token after all that were run."""

    def run(self, token: int, most: int, stop: Stop) -> None:
        """Run a token, and at most so many guesses with it; `logits` come after it.

        Raises:
            Cancelled: `stop` answered True; nothing was run.
        """
        if self._guesser is None:
            (self.logits,) = self._cache.extend([token], stop=stop)
            return
        self._guesser.add(token)
        if self._guessed and self._is_right(token):
            return
        guess = self._guesser.guess(most)
        rows = self._cache.extend([token, *guess], stop=stop)
        # Each a tensor of its own: whoever keeps one does not keep them all.
        self.logits, *after = map(Tensor.clone, rows) if guess else rows
        self._held += 1
        self._guessed.extend(zip(guess, after, strict=True))

    def _is_right(self, token: int) -> bool:
        """Whether a token was guessed; else no guess after it is good any more."""
        guessed, logits = self._guessed.popleft()
        if guessed == token:
            self.logits = logits
            self._held += 1
            return True
        self._guessed.clear()
        self._cache.take_back(self._held)
        return False
