"""Replacements of a part of a text, and their effect on the text that follows.

Candidates are the model's most probable words there, and the present text. Each is put
into the text, which is tokenised anew from the piece before on, and scored. Knows no
screen.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from lmtui.engine.batched import MOST, decode_batch
from lmtui.engine.completion import (
    ROWS,
    CompletionModel,
    ContextPlanner,
    DocumentReader,
)
from lmtui.engine.protocol import ReportCount, Stop
from lmtui.engine.score import TokenScore, rows_of
from lmtui.engine.types import Replacement
from lmtui.engine.words import can_cut
from lmtui.errors import Cancelled, LmtuiError

_FOLLOWING = 64  # tokens scored after a candidate; later ones hardly differ
_CHARACTERS = 8  # upper bound of the average code points of a token
_LONGEST = 8  # most tokens of a word
_AHEAD = 4  # tokens decoded after a word
_LEAD = 64  # most code points before a piece that are tokenised with it
_SPARE = 4  # further candidates, since some may be incomplete or equal


class ReplacementFinder:
    """Finds replacements and scores them."""

    def __init__(
        self,
        model: CompletionModel,
        scorer: DocumentReader,
        layout: ContextPlanner,
        end_ids: frozenset[int],
    ) -> None:
        self._model = model
        self._scorer = scorer
        # No infill: the text that follows is scored, so it must not be in the context.
        self._layout = replace(layout, infill=None)
        self._end_ids = end_ids | model.vocabulary.specials

    def find(
        self,
        text: str,
        start: int,
        end: int,
        *,
        count: int,
        should_stop: Stop,
        progress: ReportCount | None = None,
    ) -> list[Replacement]:
        """Return texts that could stand from `start` to `end`, the most probable first;
        empty without context.

        Raises:
            Cancelled: `should_stop` answered True.
        """
        # 1) beginnings of candidates: the rows of the healed distribution
        place = self._scorer.context_at(text, start)
        try:
            read = self._layout.completion_context(
                place, lambda _: (), _FOLLOWING + _LONGEST
            )
        except LmtuiError:
            return []
        found = self._scorer.continuations(
            read.ids, read.typed, top_n=ROWS, should_stop=should_stop
        )
        begun = _Begun.at(text, place.start, start)
        rows = [row for row in found.rows if row.special is None]
        rows = rows[: min(count + _SPARE, MOST - 1)]
        # 2) decode each to the end of its word, as one batch
        words = [_Word.given(text[start:end])]
        words += [_Word(row.beyond, whole=can_cut(text, end)) for row in rows]
        self._model.cache.read(read.ids, should_stop=should_stop)
        now, _ = self._tokens(begun, words[0].text)
        self._grow(words, [now, *(row.cover.ids for row in rows)], should_stop)
        # 3) score each candidate and the text that follows it
        self._model.cache.read(read.ids, should_stop=should_stop)
        chosen = _different(words)[:count]
        following = self._following(text, end, len(read.ids))
        scores: list[_Score] = []
        for word in chosen:
            if progress is not None:
                progress(len(scores), len(chosen))
            scores.append(self._score(begun, word.text, following, should_stop))
        rest = scores[0].following
        replacements = [
            Replacement(
                text=word.text,
                logprob=score.own - found.logprob,
                ahead=word.ahead,
                change=(rest - score.following) / math.log(2) if following else None,
            )
            for word, score in zip(chosen, scores, strict=True)
        ]
        return sorted(replacements, key=lambda some: (-some.logprob, some.text))

    def _grow(
        self, words: list[_Word], begins: Sequence[Sequence[int]], should_stop: Stop
    ) -> None:
        """Decode greedily after the beginnings of the words, until each has ended."""
        model = self._model

        def goes_on(branch: int, token: int, _: TokenScore) -> bool:
            return words[branch].feed(model.vocabulary.bytes(token))

        room = model.context - len(model.cache.ids) - max(map(len, begins))
        grown = decode_batch(
            model.backend,
            model.cache,
            begins,
            max_new_tokens=max(0, min(_LONGEST + _AHEAD, room)),
            end_ids=self._end_ids,
            goes_on=goes_on,
            should_stop=should_stop,
        )
        for word, branch in zip(words, grown, strict=True):
            if branch.ids[-1] in self._end_ids:
                word.finish()

    def _tokens(self, begun: _Begun, written: str) -> tuple[list[int], list[int]]:
        """Return the tokens of the piece with `written` after it, and the offset in
        code points at which each begins, counted from the start of `written`."""
        text = begun.lead + begun.typed + written
        read = self._scorer.part(text, 0, len(text))
        size = len(begun.lead + begun.typed)
        starts = [start - size for start, _ in read.spans]
        first = sum(start < -len(begun.typed) for start in starts)
        return read.ids[first:], starts[first:]

    def _following(self, text: str, end: int, read: int) -> str:
        """Return the text after the part that is scored with each candidate."""
        room = self._model.context - read - _LONGEST * _CHARACTERS
        most = min(_FOLLOWING, room)
        last = min(len(text), end + _FOLLOWING * _CHARACTERS)
        spans = self._scorer.part(text, end, last).spans[: max(0, most)]
        return text[end : spans[-1][1]] if spans else ""

    def _score(
        self, begun: _Begun, word: str, following: str, should_stop: Stop
    ) -> _Score:
        """Score a word and the text that follows it, after the context in the cache."""
        if should_stop():
            raise Cancelled
        ids, starts = self._tokens(begun, word + following)
        logprobs = [row.logprob or 0.0 for row in self._rows(ids, should_stop)]
        own = sum(start < len(word) for start in starts)
        return _Score(math.fsum(logprobs[:own]), math.fsum(logprobs[own:]))

    def _rows(self, ids: Sequence[int], should_stop: Stop) -> list[TokenScore]:
        model = self._model
        assert model.cache.logits is not None
        first = model.cache.logits.unsqueeze(0)  # [1, V]
        rows = list(rows_of(first, ids[:1]))
        if len(ids) > 1:
            rows += rows_of(self._after(ids[:-1], should_stop), ids[1:])
        return rows

    def _after(self, ids: Sequence[int], should_stop: Stop) -> Tensor:
        """Return logits [n, V] after each of `ids`, which continue the context in the
        cache."""
        model = self._model
        forked = model.cache.fork(1)
        before = [] if forked else model.cache.ids
        return model.backend.logits(
            [*before, *ids], forked, keep=len(ids), should_stop=should_stop
        )


@dataclass(frozen=True, slots=True)
class _Score:
    """Sums of logprobs of a candidate and of the text after it."""

    own: float
    """Of the candidate, with the part of its piece before it."""
    following: float


@dataclass(frozen=True, slots=True)
class _Begun:
    """Piece (pre-tokenizer word) that a place is in or behind."""

    lead: str
    """Text before it, enough for the tokenizer to find where pieces begin."""
    typed: str
    """Part of the piece before the place."""

    @classmethod
    def at(cls, text: str, start: int, position: int) -> _Begun:
        """Return the piece that begins at `start` and contains `position`."""
        least = max(0, start - _LEAD)
        space = text.rfind(" ", least, start)
        return cls(text[max(least, space) : start], text[start:position])


class _Word:
    """Candidate while it is decoded, up to a few tokens after its end."""

    def __init__(self, beyond: bytes, *, whole: bool) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._written = ""
        self._behind = 0
        self.end = 0
        """Where the word ends in the decoded text; 0 while it is incomplete."""
        self.feed(beyond)
        if not whole and not self._decoder.getstate()[0]:
            self.end = len(self._written)

    @classmethod
    def given(cls, text: str) -> _Word:
        """Return a word that is complete."""
        word = cls(text.encode(), whole=True)
        word.end = len(text)
        return word

    @property
    def text(self) -> str:
        """The word itself."""
        return self._written[: self.end]

    @property
    def ahead(self) -> str:
        """Text decoded after the word."""
        return self._written[self.end :]

    def feed(self, data: bytes) -> bool:
        """Add a token's bytes; return False once no more are needed."""
        try:
            self._written += self._decoder.decode(data)
        except UnicodeDecodeError:
            return False
        if self.end:
            self._behind += 1
        else:
            self.end = _end_of_word(self._written)
        return self._behind < _AHEAD

    def finish(self) -> None:
        """End the word, because the model ended its text."""
        self.end = self.end or len(self._written)


def _end_of_word(text: str) -> int:
    """Return where the first word of `text`, with white space before it, surely ends; 0
    if nowhere yet."""
    begin = len(text) - len(text.lstrip())
    return next((i for i in range(begin + 1, len(text) + 1) if can_cut(text, i)), 0)


def _different(words: Sequence[_Word]) -> list[_Word]:
    """Return the complete words without duplicates, in order."""
    found: dict[str, _Word] = {}
    for word in words:
        if word.end:
            found.setdefault(word.text, word)
    return list(found.values())
