"""What could stand in place of a part of a text, and what that does to the rest.

Owns which candidates there are (the model's most probable ones, each up to the end of
its word, and what stands there now) and their numbers: each is written into the text,
which is tokenised anew from the piece before it on, and scored. Knows no screen; the
text itself never changes.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from lmtui.engine.batched import MOST, grow
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

_FOLLOWING = 64  # tokens behind it that are scored; later ones hardly tell
_CHARACTERS = 8  # that a token has at most, on average
_LONGEST = 8  # tokens of a word
_AHEAD = 4  # tokens of how it would go on
_LEAD = 64  # code points before a piece that are read with it at most
_SPARE = 4  # candidates that may turn out to be none, or the same as another


class ReplacementFinder:
    """Finds replacements and scores them."""

    def __init__(
        self,
        model: CompletionModel,
        reader: DocumentReader,
        layout: ContextPlanner,
        end_ids: frozenset[int],
    ) -> None:
        self._model = model
        self._reader = reader
        # What follows is to be scored, so it must not be read before.
        self._layout = replace(layout, infill=None)
        self._end_ids = end_ids | model.vocabulary.specials

    def find(
        self,
        text: str,
        start: int,
        end: int,
        *,
        count: int,
        stop: Stop,
        progress: ReportCount | None = None,
    ) -> list[Replacement]:
        """What could stand from `start` to `end`, the most probable first; nothing
        where there is no context to judge by.

        Raises:
            Cancelled: `stop` answered True.
        """
        place = self._reader.place(text, start)
        try:
            read = self._layout.beginning(place, lambda _: (), _FOLLOWING + _LONGEST)
        except LmtuiError:
            return []
        found = self._reader.continuations(read.ids, read.typed, top=ROWS, stop=stop)
        begun = _Begun.at(text, place.start, start)
        rows = [row for row in found.rows if row.special is None]
        rows = rows[: min(count + _SPARE, MOST - 1)]
        words = [_Word.given(text[start:end])]
        words += [_Word(row.beyond, whole=can_cut(text, end)) for row in rows]
        self._model.cache.read(read.ids, stop=stop)
        now, _ = self._tokens(begun, words[0].text)
        self._grow(words, [now, *(row.cover.ids for row in rows)], stop)
        self._model.cache.read(read.ids, stop=stop)
        chosen = _different(words)[:count]
        following = self._following(text, end, len(read.ids))
        scores: list[_Score] = []
        for word in chosen:
            if progress is not None:
                progress(len(scores), len(chosen))
            scores.append(self._score(begun, word.text, following, stop))
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
        self, words: list[_Word], begins: Sequence[Sequence[int]], stop: Stop
    ) -> None:
        """Let the model write on after what the words begin with."""
        model = self._model

        def goes_on(branch: int, token: int, _: TokenScore) -> bool:
            return words[branch].feed(model.vocabulary.bytes(token))

        room = model.context - len(model.cache.ids) - max(map(len, begins))
        grown = grow(
            model.forward,
            model.cache,
            begins,
            more=max(0, min(_LONGEST + _AHEAD, room)),
            end_ids=self._end_ids,
            goes_on=goes_on,
            stop=stop,
        )
        for word, branch in zip(words, grown, strict=True):
            if branch.ids[-1] in self._end_ids:
                word.finish()

    def _tokens(self, begun: _Begun, written: str) -> tuple[list[int], list[int]]:
        """The tokens of a piece and what is written on there, and where each begins:
        at 0 what is written, before it the piece."""
        text = begun.lead + begun.typed + written
        read = self._reader.part(text, 0, len(text))
        size = len(begun.lead + begun.typed)
        starts = [start - size for start, _ in read.spans]
        first = sum(start < -len(begun.typed) for start in starts)
        return read.ids[first:], starts[first:]

    def _following(self, text: str, end: int, read: int) -> str:
        """The text behind the place that is scored with each candidate."""
        room = self._model.context - read - _LONGEST * _CHARACTERS
        most = min(_FOLLOWING, room)
        last = min(len(text), end + _FOLLOWING * _CHARACTERS)
        spans = self._reader.part(text, end, last).spans[: max(0, most)]
        return text[end : spans[-1][1]] if spans else ""

    def _score(self, begun: _Begun, word: str, following: str, stop: Stop) -> _Score:
        """Score a word and what follows it, after what the cache holds."""
        if stop():
            raise Cancelled
        ids, starts = self._tokens(begun, word + following)
        logprobs = [row.logprob or 0.0 for row in self._rows(ids, stop)]
        own = sum(start < len(word) for start in starts)
        return _Score(math.fsum(logprobs[:own]), math.fsum(logprobs[own:]))

    def _rows(self, ids: Sequence[int], stop: Stop) -> list[TokenScore]:
        model = self._model
        assert model.cache.logits is not None
        first = model.cache.logits.unsqueeze(0)  # [1, V]
        rows = list(rows_of(first, ids[:1]))
        if len(ids) > 1:
            rows += rows_of(self._after(ids[:-1], stop), ids[1:])
        return rows

    def _after(self, ids: Sequence[int], stop: Stop) -> Tensor:
        """Logits [n, V] after each of `ids`, which come after what the cache holds."""
        model = self._model
        forked = model.cache.fork(1)
        before = [] if forked else model.cache.ids
        return model.forward.logits([*before, *ids], forked, keep=len(ids), stop=stop)


@dataclass(frozen=True, slots=True)
class _Score:
    """Sums of logprobs."""

    own: float
    """Of what was written, with the typed beginning of its piece."""
    following: float


@dataclass(frozen=True, slots=True)
class _Begun:
    """The piece that a place is in or behind."""

    lead: str
    """What is before it, as much as tells the tokenizer where pieces begin."""
    typed: str
    """Its beginning, up to the place."""

    @classmethod
    def at(cls, text: str, start: int, place: int) -> _Begun:
        """The piece that begins at `start`."""
        least = max(0, start - _LEAD)
        space = text.rfind(" ", least, start)
        return cls(text[max(least, space) : start], text[start:place])


class _Word:
    """A candidate while it is written, up to a few tokens behind its end."""

    def __init__(self, beyond: bytes, *, whole: bool) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._written = ""
        self._behind = 0
        self.end = 0
        """Where the word ends in what is written; 0 while it goes on."""
        self.feed(beyond)
        if not whole and not self._decoder.getstate()[0]:
            self.end = len(self._written)

    @classmethod
    def given(cls, text: str) -> _Word:
        """One that is there already."""
        word = cls(text.encode(), whole=True)
        word.end = len(text)
        return word

    @property
    def text(self) -> str:
        """The word."""
        return self._written[: self.end]

    @property
    def ahead(self) -> str:
        """What comes after it."""
        return self._written[self.end :]

    def feed(self, data: bytes) -> bool:
        """Add a token; False once no more is wanted."""
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
        """Nothing more comes."""
        self.end = self.end or len(self._written)


def _end_of_word(text: str) -> int:
    """Where the first word of `text`, white space before it included, surely ends."""
    begin = len(text) - len(text.lstrip())
    return next((i for i in range(begin + 1, len(text) + 1) if can_cut(text, i)), 0)


def _different(words: Sequence[_Word]) -> list[_Word]:
    """The words that are complete, of equal ones the first."""
    found: dict[str, _Word] = {}
    for word in words:
        if word.end:
            found.setdefault(word.text, word)
    return list(found.values())
