"""Banned phrases: where one begins in a text that grows, and the way back to there.

Phrases are searched for in the bytes of the generated tokens, case counts. Knows no
model and no sampler.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch import Tensor

from lmtui.engine.grammar.answer import AnswerGrammar
from lmtui.engine.text.detokenizer import TextStream
from lmtui.engine.types import Step, TakenBack

MOST_RETURNS = 64
"""Times that one answer goes back."""
MOST_MASKED = 16
"""Tokens that are masked at one position."""


@dataclass(frozen=True, slots=True)
class BeforeToken:
    """State of a generation before one of its tokens, to go back to."""

    logits: Tensor
    """Logits [V] that the token was drawn from."""
    ids: int
    """Number of ids of prompt and answer."""
    text: TextStream
    grammar: AnswerGrammar | None


class PhraseGuard:
    """Steps of an answer that may still be taken back, and the tokens that are masked
    since a phrase began with them."""

    def __init__(self, phrases: Sequence[str]) -> None:
        self._phrases = {phrase.encode(): phrase for phrase in phrases if phrase}
        self._lengths = sorted({len(data) for data in self._phrases})
        self._beginnings = {
            data[:size] for data in self._phrases for size in range(1, len(data))
        }
        self._data = b""  # of the steps that are held back
        self._pending: list[tuple[Step, BeforeToken | None, int]] = []
        """Steps that are held back, the state before each, and its number of bytes."""
        self._first = 0
        """Index of the first of them."""
        self._masked: dict[int, set[int]] = {}
        self.taken_back: list[TakenBack] = []
        """What was taken back, in order."""
        self.notice = ""
        """Why a phrase stayed, if one did."""
        self._gave_up = False

    def masked(self, index: int) -> Collection[int]:
        """Return the tokens that can't be drawn as token `index` of the answer."""
        return self._masked.get(index, ())

    def add(self, step: Step, data: bytes, before: BeforeToken | None) -> None:
        """Hold a step back, with its bytes. A token without a state before it can't be
        taken back."""
        self._pending.append((step, before, len(data)))
        self._data += data

    def go_back(self) -> BeforeToken | None:
        """Take back the steps from the token on in which a phrase began that is now
        complete, and mask that token there; return the state before it. None where no
        phrase is complete, or where it has to stay."""
        completed = self._completed()
        if completed is None or self._gave_up:
            return None
        begun, phrase = completed
        step, before, _ = self._pending[begun]
        if before is None:
            self.notice = f"“{phrase}” stays: it began in the word that was completed"
            return None
        index, times = self._first + begun, len(self.taken_back)
        masked = self._masked.setdefault(index, set())
        if times >= MOST_RETURNS or len(masked) >= MOST_MASKED:
            self._gave_up = True
            self.notice = f"“{phrase}” stays: the answer went back {times} times before"
            return None
        masked.add(step.id)
        removed = tuple(step for step, *_ in self._pending[begun:])
        self.taken_back.append(TakenBack(index, removed, phrase))
        # What was masked behind this token belonged to another text.
        self._masked = {at: ids for at, ids in self._masked.items() if at <= index}
        self._data = self._data[: sum(size for *_, size in self._pending[:begun])]
        del self._pending[begun:]
        return before

    def _completed(self) -> tuple[int, str] | None:
        """Return the pending step in which a phrase begins that the last one completes,
        the first of several, and the phrase."""
        end = len(self._data)
        last = self._pending[-1][2]
        phrases = [
            (stop - size, data)
            for stop in range(end - last + 1, end + 1)
            for size in self._lengths
            if size <= stop
            and (data := self._data[stop - size : stop]) in self._phrases
        ]
        if not phrases:
            return None
        start, data = min(phrases)
        return self._index_at(start), self._phrases[data]

    def _index_at(self, start: int) -> int:
        """Return the pending step that has the byte at this offset."""
        ends = accumulate(size for *_, size in self._pending)
        return next(index for index, end in enumerate(ends) if start < end)

    def sure(self) -> list[Step]:
        """Return the steps that can't be part of a phrase any more, and let go of
        them."""
        longest = max(map(len, self._beginnings), default=0)
        start = max(0, len(self._data) - longest)
        while start < len(self._data) and self._data[start:] not in self._beginnings:
            start += 1
        if start == len(self._data):
            return self.rest()
        return self._release(self._index_at(start))

    def rest(self) -> list[Step]:
        """Return all steps that are held back, and let go of them."""
        return self._release(len(self._pending))

    def _release(self, count: int) -> list[Step]:
        released, self._pending = self._pending[:count], self._pending[count:]
        self._data = self._data[sum(size for *_, size in released) :]
        self._first += count
        return [step for step, *_ in released]
