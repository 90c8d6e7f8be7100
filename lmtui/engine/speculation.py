"""Speculation: the next few tokens are guessed, and run together with the last one.

Owns where a guess comes from, what becomes of it, and when guessing is left alone
because it does not pay. What came after the same few tokens the last time is what is
guessed (prompt lookup decoding, Saxena 2023). A guess decides nothing: the decode loop
draws every token from its own logits as ever, and those after a guess that was wrong
are dropped. Knows ids alone, and no clock, so that the same text is guessed at in the
same way on every machine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import cycle, islice

from torch import Tensor

from lmtui.engine.cache import PrefixCache
from lmtui.engine.forward import Guesses
from lmtui.engine.port import Stop

_LOOKS_BACK = 2048  # tokens of what is gone on from that a guess is looked for in
_FORGETS = 0.8  # how much of what earlier guesses won still counts at the next one
_PAUSE, _LONGEST = 8, 256  # tokens without a guess after one too many; it doubles


class Guesser:
    """Guesses at how one text goes on."""

    def __init__(self, kinds: Sequence[Guesses], *texts: Iterable[int]) -> None:
        """`kinds` are what may be guessed, `texts` what may be repeated; the last one
        is the one that grows."""
        self._kinds = kinds
        self._cost = 0.0
        """Of the last guess."""
        self._ids: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        """Where the token stands that last came after some tokens."""
        self._pause, self._left = _PAUSE, 0
        self._won = 0.0
        for text in texts:
            for token in text:
                self.add(token)

    def add(self, token: int) -> None:
        """The text has one more token."""
        place = len(self._ids)
        for kind in self._kinds:
            if place >= kind.same:
                self._after[tuple(self._ids[place - kind.same :])] = place
        self._ids.append(token)

    def guess(self, most: int) -> Sequence[int]:
        """So many tokens that may come next, at most as many as pay; none where
        nothing is known, or where guesses do not pay."""
        if self._left > 0:
            self._left -= 1
            return ()
        for kind in self._kinds:
            place = self._after.get(tuple(self._ids[-kind.same :]))
            if place is not None:
                self._cost = kind.cost
                again = self._ids[place:]  # and then that again, and so on
                return list(islice(cycle(again), max(0, min(most, kind.most))))
        return ()

    def learn(self, right: int) -> None:
        """So many tokens of the last guess were right."""
        self._won = _FORGETS * self._won + right - self._cost
        if self._won >= 0:
            self._pause = _PAUSE
        else:
            self._left, self._won = self._pause, 0.0
            self._pause = min(2 * self._pause, _LONGEST)


class Speculation:
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
        self._guesser = Guesser(cache.guesses, *texts) if cache.takes_back else None
        self._guessed: deque[tuple[int, Tensor]] = deque()
        """What was guessed and run, with the logits after it."""
        self._right = 0
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
        self._right = 0

    def _is_right(self, token: int) -> bool:
        """Whether a token was guessed; else no guess after it is good any more."""
        assert self._guesser is not None
        guessed, logits = self._guessed.popleft()
        if guessed == token:
            self.logits = logits
            self._held += 1
            self._right += 1
            if not self._guessed:
                self._guesser.learn(self._right)
            return True
        self._guessed.clear()
        self._cache.take_back(self._held)
        self._guesser.learn(self._right)
        return False
