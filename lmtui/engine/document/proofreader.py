"""Proofreading: corrections that make a text more probable.

Noisy channel (Kernighan, Church & Gale 1990): a word is corrected where another text
in its place gains more log P, of the place and of the tokens after it, than a slip of
that kind costs. The rules of `typos` propose, the model decides. A correction that was
found is taken as made: a model that has read a mistake believes it. Knows no screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain, islice

from lmtui.engine.document.completion import CompletionModel
from lmtui.engine.document.cursor import CursorPredictor
from lmtui.engine.document.dictionary import Spelling, prose_words
from lmtui.engine.document.span_scorer import SpanScorer, span_scorer_at
from lmtui.engine.document.types import Correction, ProofreadPart, corrected
from lmtui.engine.document.typos import EditKind, Span, slips
from lmtui.engine.document.words import spans_of_words
from lmtui.errors import LmtuiError

COSTS: Mapping[str, float] = {
    EditKind.UNKNOWN: 1.0,
    EditKind.UNGRAMMATICAL: -6.0,
    EditKind.CONFUSED: 2.0,
    EditKind.INFLECTED: 4.0,
    EditKind.SIMILAR: 14.0,
    EditKind.PREPOSITION: 11.0,
    EditKind.SWAPPED: 8.0,
    EditKind.DOUBLED: 2.0,
}
"""Gain in bits from which a correction is reported: the less the neighbours and the
dictionary say against a word, the more has the model to say."""

_SURE = EditKind.UNKNOWN, EditKind.UNGRAMMATICAL, EditKind.DOUBLED
_LISTED = EditKind.UNGRAMMATICAL, EditKind.CONFUSED, EditKind.DOUBLED
_LN2 = math.log(2)
_MOST = 6  # other spellings that are scored at a place
_FOLLOWING = 2  # tokens after a place that are scored: more may hold the next slip
_MORE = 1.5  # bits of two words above what a change costs for it to be tried
_PART = 16  # words of a part without corrections
_AROUND = 50_000  # code points on each side of what is read, for the writer's own words


_Word = tuple[Span, Spelling | None]
"""Place of a word, and None where it is not corrected."""


class Proofreader:
    """Finds corrections, word by word."""

    def __init__(self, model: CompletionModel, reader: CursorPredictor) -> None:
        self._model, self._reader = model, reader

    def read(
        self, text: str, start: int, end: int, known: Sequence[Correction] = ()
    ) -> Iterator[ProofreadPart]:
        """Proofread the words from `start` to `end`, after the corrections that are
        `known` before them; yield one part after the other, the last of which ends at
        `end`.

        Raises:
            LmtuiError: the text is not English.
        """
        first = max(0, start - _AROUND)
        prose = prose_words(text[first : end + _AROUND])
        if prose is None:
            hint = "Only English is proofread."
            raise LmtuiError("the text is not English", "", hint)
        clean, reached = corrected(text, known), start
        while True:
            # 1) the next words, in the text with all corrections so far
            moved = len(clean) - len(text)
            at, last = reached + moved, end + moved
            words = [
                ((at + a, at + b), prose.get(reached - first + a))
                for a, b in islice(spans_of_words(clean[at:last]), _PART + 1)
            ]
            # 2) a part ends after a correction, or after so many words
            if made := self._first_correction(clean, words):
                clean = corrected(clean, (made,))
                made = replace(made, start=made.start - moved, end=made.end - moved)
                reached = made.end
                yield ProofreadPart(reached, (made,))
            elif len(words) > _PART:
                reached = words[_PART][0][0] - moved
                yield ProofreadPart(reached, ())
            else:
                yield ProofreadPart(end, ())
                return

    def _first_correction(self, text: str, words: Sequence[_Word]) -> Correction | None:
        """Return the first correction of neighbouring words."""
        bits = [*self._surprisals(text, [span for span, _ in words]), 0.0]
        for index, word in enumerate(words[:_PART]):
            after = words[index + 1] if index + 1 < len(words) else None
            if made := self._correction(text, word, after, bits[index : index + 2]):
                return made
        return None

    def _surprisals(self, text: str, words: Sequence[Span]) -> Iterator[float]:
        """Yield the surprisal of each word in bits, the sum over its tokens; 0 without
        context."""
        if not words:
            return
        index, bits = 0, 0.0
        for part in self._reader.score_span(text, words[0][0], words[-1][1]):
            for token, (_, end) in zip(part.tokens, part.spans, strict=True):
                while index < len(words) and end > words[index][1]:
                    yield bits
                    index, bits = index + 1, 0.0
                if index < len(words) and end > words[index][0]:
                    bits -= (token.logprob or 0.0) / _LN2
        yield from chain([bits], [0.0] * (len(words) - index - 1))

    def _correction(
        self, text: str, word: _Word, after: _Word | None, bits: Sequence[float]
    ) -> Correction | None:
        """Return the best correction of a word, or of both words, that gains more than
        it costs."""
        # 1) what may be meant, but for what could gain too little
        (place, spelling), (next_place, next_spelling) = word, after or (None, None)
        if spelling is None:
            return None
        follows = next_place if next_spelling else None
        proposed = slips(text, place, follows, self._vocabulary, spelling)
        changes = [each for each in proposed if sum(bits) >= COSTS[each.kind] + _MORE]
        if not changes:
            return None
        span = place[0], (next_place or place)[1]
        scorer = span_scorer_at(self._model, text, span) or span_scorer_at(
            self._model, f"\n{text}", (span[0] + 1, span[1] + 1)
        )
        if scorer is None:
            return None
        # 2) what the model says of it
        least = -math.inf if spelling is Spelling.UNKNOWN else -bits[0] * _LN2
        likely = self._likeliest(scorer, changes, least)
        return self._best(text, span, scorer, likely) if likely else None

    def _likeliest(
        self, scorer: SpanScorer, changes: Iterable[Correction], least: float
    ) -> list[Correction]:
        """Return the changes of a list, and of the others those whose first token has
        the highest logprob, above `least`."""
        logprobs, tokens = scorer.read(), self._reader.tokens

        def logprob(change: Correction) -> float:
            data = scorer.typed + change.text.encode()
            ids = tokens.exactly(data) or tokens.guess(data)
            return float(logprobs[ids[0]]) if ids else -math.inf

        listed = [change for change in changes if change.kind in _LISTED]
        others = [change for change in changes if change.kind not in _LISTED]
        likely = [change for change in others if logprob(change) > least]
        return [*listed, *sorted(likely, key=logprob, reverse=True)[:_MOST]]

    def _best(
        self, text: str, span: Span, scorer: SpanScorer, changes: Sequence[Correction]
    ) -> Correction | None:
        """Return the change that gains most above what it costs, if one does."""
        start, end = span
        wholes = (corrected(text[:end], [change])[start:] for change in changes)
        fillings = [scorer.fill(whole) for whole in (text[start:end], *wholes)]
        parts = scorer.scores(fillings, following=_FOLLOWING)
        now, *totals = (score.total for part in parts for score in part)
        best, margin = None, 0.0
        for change, total in zip(changes, totals, strict=True):
            above = (total - now) / _LN2 - COSTS[change.kind]
            if above >= margin:
                best, margin = replace(change, gain=total - now), above
        return best and replace(best, is_sure=best.kind in _SURE)

    @cached_property
    def _vocabulary(self) -> frozenset[str]:
        """Lower-case words that are one token after a space."""
        spelled = self._reader.tokens.starting_with(b" ")
        words = (data[1:].decode("utf-8", "ignore") for data in spelled)
        return frozenset(word for word in words if word.isalpha() and word.islower())
