"""Proofreading: corrections that make a text more probable.

Noisy channel (Kernighan, Church & Gale 1990): a word is corrected where another text
in its place gains more log P, of the place and of what follows, than a slip of that
kind costs. Places are the words that are in no dictionary, those that writers confuse,
and the surprising ones; candidates are the plausible slips of `typos`. Knows no screen.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise

from torch import Tensor

from lmtui.engine.document.completion import CompletionModel
from lmtui.engine.document.cursor import CursorPredictor
from lmtui.engine.document.dictionary import dictionary, misspelt_words
from lmtui.engine.document.span_scorer import SpanScorer, span_scorer_at
from lmtui.engine.document.types import (
    Correction,
    ProofreadPart,
)
from lmtui.engine.document.typos import (
    EditKind,
    WordIndex,
    confused_with,
    doubled,
    is_function_word,
    other_words,
    swapped,
    ungrammatical,
)
from lmtui.engine.document.words import spans_of_words

SURPRISING = 8.0
"""Surprisal in bits from which a word is looked at."""
SURPRISING_FUNCTION_WORD = 5.0
"""The same for a function word, of which there are few."""
SURPRISING_PAIR = 5.0
"""Surprisal of a word that is often confused, with the word after it, from which it is
looked at."""
COSTS = {
    EditKind.UNKNOWN: -3.0,
    EditKind.UNGRAMMATICAL: -4.5,
    EditKind.CONFUSED: 3.5,
    EditKind.MISSPELT: 12.0,
    EditKind.SIMILAR: 13.0,
    EditKind.FUNCTION_WORD: 14.0,
    EditKind.LETTER_CASE: 8.0,
    EditKind.SWAPPED: 10.0,
    EditKind.DOUBLED: 5.0,
}
"""Gain in bits from which a correction is reported: rare words are unlikely wherever
they are right, so a spelling has to gain more than a word order. What a dictionary or
the neighbours show to be wrong may even lose a little: small models have read slips."""

_LN2 = math.log(2)
_MOST = 4  # other words that are scored at a place
_FOLLOWS = 9.0  # bits that the text after a correction rarely gains more than
_LEAST = 0.5  # bits by which another word has to be more probable than the present one
_ROUNDS = (3, 24)  # tokens of the text that follows which are scored
_NEAR = 6.0  # bits below its cost at which a candidate goes on to the next round
_PART = 16  # words of a part without corrections
_AROUND = 50_000  # code points on each side of what is read, for the writer's own words

Span = tuple[int, int]
"""Start and end in a text, in code points."""


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two neighbouring words of a text, or its last one alone."""

    first: Span
    second: Span | None
    bits: tuple[float, float]
    """Surprisal of each."""
    between: tuple[str, str]
    """Words before and after the first, where only a space is between."""
    is_unknown: bool
    """Whether the first is misspelt by the dictionary."""

    @property
    def end(self) -> int:
        return self.second[1] if self.second else self.first[1]


@dataclass(frozen=True, slots=True)
class _Change:
    """Candidate for a pair: both words as they would be, and the correction."""

    whole: str
    correction: Correction
    """Its gain is that of the last round."""

    @property
    def margin(self) -> float:
        """Bits by which the gain is above the cost of such a slip."""
        cost = COSTS[EditKind(self.correction.kind)]
        return self.correction.gain / _LN2 - cost


class Proofreader:
    """Finds corrections, word by word."""

    def __init__(self, model: CompletionModel, reader: CursorPredictor) -> None:
        self._model, self._reader = model, reader

    def read(self, text: str, start: int, end: int) -> Iterator[ProofreadPart]:
        """Proofread the words from `start` to `end`; yield one part after the other,
        the last of which ends at `end`.
        """
        words = [(a + start, b + start) for a, b in spans_of_words(text[start:end])]
        own = WordIndex(text[a:b].lower() for a, b in words)
        first = max(0, start - _AROUND)
        misspelt = misspelt_words(text[first : end + _AROUND])
        unknown = {first + offset for offset in misspelt or ()}
        is_english = misspelt is not None
        corrections: list[Correction] = []
        count = 0
        for pair in self._pairs(text, words, unknown):
            # 1) of two corrections that overlap, the better one stays
            new = self._correction(text, pair, own)
            if new and corrections and new.start < corrections[-1].end:
                corrections[-1] = max(
                    corrections[-1], new, key=lambda correction: correction.gain
                )
            elif new:
                corrections.append(new)
            # 2) a part ends where no later correction can overlap
            count += 1
            settled = not corrections or corrections[-1].end <= pair.first[1]
            if settled and (corrections or count >= _PART):
                yield ProofreadPart(
                    pair.first[1], count, tuple(corrections), is_english
                )
                corrections, count = [], 0
        yield ProofreadPart(end, count, tuple(corrections), is_english)

    def _pairs(
        self, text: str, words: Sequence[Span], unknown: Container[int]
    ) -> Iterator[_Pair]:
        """Yield each word with the one after it, once both are scored."""
        bits = pairwise(chain(self._surprisals(text, words), [0.0]))
        for index, (first, pair) in enumerate(zip(words, bits, strict=False)):
            second = words[index + 1] if index + 1 < len(words) else None
            between = "", ""
            if index and text[words[index - 1][1] : first[0]].isspace():
                between = text[slice(*words[index - 1])], ""
            if second and text[first[1] : second[0]].isspace():
                between = between[0], text[slice(*second)]
            yield _Pair(first, second, pair, between, first[0] in unknown)

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

    def _correction(self, text: str, pair: _Pair, own: WordIndex) -> Correction | None:
        """Return the best correction of a pair that gains more than it costs."""
        word = text[slice(*pair.first)]
        before, after = pair.between
        is_wrong = pair.is_unknown or bool(ungrammatical(before, word, after))
        is_listed = is_wrong or bool(confused_with(word))
        if not (is_wrong or _may_be_wrong(pair, word, is_listed)):
            return None
        span = pair.first[0], pair.end
        scorer = span_scorer_at(self._model, text, span)
        if scorer is None and is_listed:  # the first word of the text
            moved = span[0] + 1, span[1] + 1
            line = f"\n{text}"
            scorer = span_scorer_at(self._model, line, moved)
        if scorer is None:
            return None
        logprobs = scorer.read()
        changes = list(self._changes(text, pair, scorer, logprobs, own))
        for following in _ROUNDS:
            if not changes:
                return None
            changes = self._with_gains(scorer, text[slice(*span)], changes, following)
        best = max(changes, key=lambda change: change.margin, default=None)
        return best.correction if best and best.margin >= 0 else None

    def _with_gains(
        self,
        scorer: SpanScorer,
        present: str,
        changes: Sequence[_Change],
        following: int,
    ) -> list[_Change]:
        """Return the changes with their gain over the present text, without those that
        gain far too little."""
        fillings = [
            scorer.fill(change) for change in (present, *(c.whole for c in changes))
        ]
        parts = scorer.scores(fillings, following=following)
        now, *totals = (score.total for part in parts for score in part)
        judged = [
            replace(change, correction=replace(change.correction, gain=total - now))
            for change, total in zip(changes, totals, strict=True)
        ]
        return [change for change in judged if change.margin >= -_NEAR]

    def _changes(
        self,
        text: str,
        pair: _Pair,
        scorer: SpanScorer,
        logprobs: Tensor,
        own: WordIndex,
    ) -> Iterator[_Change]:
        """Yield the changes of a pair that its context does not rule out."""
        (start, middle), end = pair.first, pair.end
        first, rest = text[start:middle], text[middle:end]

        def logprob(word: str) -> float:
            ids = self._tokens_of(scorer.typed + word.encode())
            return float(logprobs[ids[0]]) if ids else -math.inf

        # 1) the first word dropped, or swapped with the second
        if pair.second is not None:
            second = text[slice(*pair.second)]
            between = rest[: len(rest) - len(second)]
            if doubled(first, between, second):
                made = Correction(middle, end, "", EditKind.DOUBLED, 0.0)
                yield _Change(first, made)
            elif (other := swapped(first, between, second)) and logprob(
                other.partition(between)[0]
            ) >= logprob(first) + _least_gain(EditKind.SWAPPED):
                yield _Change(other, Correction(start, end, other, EditKind.SWAPPED, 0))
        # 2) other words in place of the first
        spelling = dictionary() if pair.is_unknown else None
        others = other_words(
            first, self._vocabulary, own, between=pair.between, spelling=spelling
        )
        kinds = dict(reversed([*others]))
        present = -pair.bits[0] * _LN2 if pair.bits[0] else -math.inf
        scores = {word: logprob(word) for word in kinds}
        likely = [
            word
            for word, kind in kinds.items()
            if scores[word] >= present + _least_gain(kind) or pair.is_unknown
        ]
        listed = EditKind.CONFUSED, EditKind.UNGRAMMATICAL
        confused = [word for word in kinds if kinds[word] in listed]
        likely.sort(key=lambda word: (-scores[word], word))
        for word in dict.fromkeys([*confused, *likely[:_MOST]]):
            made = Correction(start, middle, word, kinds[word], 0.0)
            yield _Change(word + rest, made)

    def _tokens_of(self, data: bytes) -> Sequence[int]:
        tokens = self._reader.tokens
        return tokens.exactly(data) or tokens.guess(data)

    @cached_property
    def _vocabulary(self) -> WordIndex:
        """Lower-case words that are one token after a space."""
        spelled = self._reader.tokens.starting_with(b" ")
        words = (data[1:].decode("utf-8", "ignore") for data in spelled)
        return WordIndex(word for word in words if word.isalpha() and word.islower())


def _may_be_wrong(pair: _Pair, word: str, is_listed: bool) -> bool:
    """Return whether a pair, or its first word, may need a correction; `is_listed`:
    the word is often confused."""
    threshold = SURPRISING_FUNCTION_WORD if is_function_word(word) else SURPRISING
    if pair.bits[0] >= threshold or pair.bits[1] >= SURPRISING:
        return True
    return is_listed and sum(pair.bits) >= SURPRISING_PAIR


def _least_gain(kind: EditKind) -> float:
    """Return the nats that a word itself has to gain, so that with what follows it can
    gain what its kind costs."""
    return max(_LEAST, COSTS[kind] - _FOLLOWS) * _LN2
