"""Replacements of a word, by how well they fit the text on both sides.

Candidates are the beginnings that the model finds most probable there, completed to
whole words, and words of the text. All are scored with a little of the text that
follows, and the best of them with more. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lmtui.engine.document.completion import CompletionModel
from lmtui.engine.document.span_scorer import (
    FOLLOWING,
    LONGEST,
    FillingScore,
    Infilled,
    SpanScorer,
    span_scorer_at,
)
from lmtui.engine.document.token_healing import HealedRow
from lmtui.engine.document.types import Replacement, ReplacementList
from lmtui.engine.document.words import can_cut, in_word, words_like
from lmtui.engine.generation.generate import generate_rows
from lmtui.engine.rows import steps_of
from lmtui.engine.scoring.path_scores import reads_trees

BEGINNINGS = 200
"""Rows of the healed distribution that may begin a candidate."""
FROM_TEXT = 64
"""Most words of the text among the candidates."""

_FEW = 12  # beginnings where each candidate costs a pass of its own
_ROUNDS = ((48, 4), (16, FOLLOWING))
"""How many candidates a round scores at most (more where more are asked for), and with
how many of the tokens that follow."""
_AHEAD = 4  # tokens decoded after a word


def replacements(
    model: CompletionModel, text: str, start: int, end: int, *, count: int
) -> Iterator[ReplacementList]:
    """Yield what could stand from `start` to `end` of a text, whenever more is known;
    the last list is complete, and empty without context."""
    scorer = span_scorer_at(model, text, (start, end))
    if scorer is None:
        yield ReplacementList((), 1, 1)
        return
    is_word = can_cut(text, start) and can_cut(text, end)
    search = _Search(model, scorer, text[start:end], is_word=is_word, count=count)
    many = reads_trees(model.cache)
    known = words_like(text, start, end, count=FROM_TEXT) if many and is_word else []
    yield from search.run(known, BEGINNINGS if many else _FEW)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Candidate as it was scored in the last round."""

    infilled: Infilled
    score: FillingScore

    @property
    def text(self) -> str:
        return self.infilled.text

    @property
    def promise(self) -> float:
        """Natural log of the probability of what was scored, and of the token that
        follows it in the text."""
        score, infilled = self.score, self.infilled
        rest = infilled.ids[infilled.own + score.count :]
        return score.total + (float(score.next[rest[0]]) if rest else 0.0)


class _Search:
    def __init__(
        self,
        model: CompletionModel,
        scorer: SpanScorer,
        present: str,
        *,
        is_word: bool,
        count: int,
    ) -> None:
        """`present` is the text in the gap, which stays in every round; where it
        `is_word`, so are its replacements, of which `count` are wanted."""
        self._model = model
        self._scorer = scorer
        self._present = present
        self._is_word = is_word
        self._count = count
        self._rounds = [(max(most, count), following) for most, following in _ROUNDS]
        self._healed = model.reader.continuations(
            scorer.context, scorer.typed, top_n=BEGINNINGS
        )
        self._words = 0  # candidates so far
        self._done = 0  # scores so far

    def run(self, known: Sequence[str], most: int) -> Iterator[ReplacementList]:
        """Yield the best so far, whenever more is scored. Candidates are the `known`
        words and up to `most` probable beginnings."""
        # 1) the candidates by themselves
        begun = _beginnings(self._healed.rows, self._present)[:most]
        pool = yield from self._candidates(known, begun)
        yield self._list(pool)
        # 2) the best of them, with more and more of what follows
        for number, (kept, following) in enumerate(self._rounds, 1):
            fillings = [candidate.infilled for candidate in self._best(pool, kept)]
            scored: list[_Candidate] = []
            for scored in self._scores(fillings, following):
                sure = self._best(scored) if number == len(self._rounds) else []
                yield self._list(pool, sure)
            pool = scored
        # 3) what the model would write after the best
        best = self._best(pool)
        ahead = self._predicted_texts([candidate.infilled for candidate in best])
        rows = zip(self._rows(best), ahead, strict=True)
        complete = tuple(replace(row, ahead=written) for row, written in rows)
        yield ReplacementList(complete, self._total, self._total)

    def _candidates(
        self, known: Sequence[str], begun: Sequence[str]
    ) -> Generator[ReplacementList, None, list[_Candidate]]:
        """Score the words that are known and those that are begun; return them, and
        what these become where a whole word is replaced."""
        words: list[_Candidate] = []
        pool: list[_Candidate] = []
        seen = 0
        for pool in self._scores_of([self._present, *begun, *known]):
            words += [
                candidate
                for candidate in pool[seen:]
                if not self._is_word
                or candidate.text not in begun
                or self._extended(candidate) is None
            ]
            seen = len(pool)
            yield self._list(words)
        return self._completed(pool, set(begun)) if self._is_word else pool

    def _completed(self, pool: list[_Candidate], begun: set[str]) -> list[_Candidate]:
        """Return the candidates with the words that the beginnings among them greedily
        become. A beginning that goes on stays where text follows, which then says
        whether it is a word."""
        stays, new = bool(self._scorer.following), pool
        for _ in range(LONGEST):
            grown = {
                candidate.text: word
                for candidate in new
                if candidate.text in begun and (word := self._extended(candidate))
            }
            if not stays:
                pool = [candidate for candidate in pool if candidate.text not in grown]
            begun = set(grown.values()) - {candidate.text for candidate in pool}
            if not begun:
                break
            *_, new = self._scores_of(sorted(begun))
            pool = [*pool, *new]
        return pool

    def _extended(self, candidate: _Candidate) -> str | None:
        """Return the word that continues a candidate by the most probable token; None
        where that token does not continue it."""
        word, token = candidate.text, int(candidate.score.next.argmax())
        if token in self._model.end_ids:
            return None
        longer = word + self._spelled([token])
        if longer == word or can_cut(longer, len(word)):
            return None
        return _first_word(longer)

    def _predicted_texts(self, fillings: Sequence[Infilled]) -> list[str]:
        """Return what the model greedily writes after each; empty where that would go
        on with the word."""
        model, context = self._model, self._scorer.context
        begins = [filling.ids[: filling.own] for filling in fillings]
        room = model.context - len(context) - max(map(len, begins))
        written = [list[int]() for _ in begins]
        answers = [model.greedy(begin, min(_AHEAD, room)) for begin in begins]
        for index, step in steps_of(generate_rows(model.cache, answers, context)):
            written[index].append(step.id)
        lengths = [len(self._spelled(begin)) for begin in begins]
        texts = map(self._spelled, written)
        ahead = [text[size:] for text, size in zip(texts, lengths, strict=True)]
        return [
            text if can_cut(filling.text + text, len(filling.text)) else ""
            for filling, text in zip(fillings, ahead, strict=True)
        ]

    def _spelled(self, ids: Iterable[int]) -> str:
        model = self._model
        spell = model.sampler.vocabulary.bytes
        data = (spell(token) for token in ids if token not in model.end_ids)
        return b"".join(data).decode("utf-8", "ignore")

    # Scores, and lists of what is scored.

    def _scores_of(self, words: Iterable[str]) -> Iterator[list[_Candidate]]:
        """Score further words, without what follows; yield those that are scored,
        whenever there are more."""
        fillings = [self._scorer.fill(word) for word in dict.fromkeys(words)]
        self._words += len(fillings)
        return self._scores(fillings, 0)

    def _scores(
        self, fillings: Sequence[Infilled], following: int
    ) -> Iterator[list[_Candidate]]:
        """Score words with so many tokens that follow; yield those that are scored,
        whenever there are more."""
        done: list[_Candidate] = []
        for part in self._scorer.scores(fillings, following=following):
            done += map(_Candidate, fillings[len(done) :], part)
            self._done += len(part)
            yield done

    def _best(
        self, pool: Sequence[_Candidate], most: int | None = None
    ) -> list[_Candidate]:
        """Return the most promising candidates, best first; the present text is one."""

        def order(candidate: _Candidate) -> tuple[float, str]:
            return -candidate.promise, candidate.text

        ranked = sorted(pool, key=order)
        ranked.sort(key=lambda candidate: candidate.text != self._present)
        return sorted(ranked[: max(1, most or self._count)], key=order)

    def _list(
        self, early: Sequence[_Candidate], scored: Sequence[_Candidate] = ()
    ) -> ReplacementList:
        """Return the best: of those that are `scored` with what follows, and then of
        the others."""
        rows = self._rows(scored)
        sure, is_end = {row.text for row in rows}, not self._scorer.following
        for row in self._rows(self._best(early)):
            if row.text not in sure:
                rows.append(replace(row, following=None, is_scored=is_end))
        return ReplacementList(tuple(rows[: self._count]), self._done, self._total)

    @property
    def _total(self) -> int:
        """Scores in all, as far as is known, and one for what is written ahead."""
        later = sum(min(most, self._words) for most, _ in self._rounds)
        return self._words + later + 1

    def _rows(self, candidates: Iterable[_Candidate]) -> list[Replacement]:
        follows = bool(self._scorer.following)
        return [
            Replacement(
                text=candidate.text,
                logprob=candidate.score.own - self._healed.logprob,
                ahead="",
                following=candidate.score.following if follows else None,
            )
            for candidate in candidates
        ]


def _beginnings(rows: Iterable[HealedRow], present: str) -> list[str]:
    """Return the beginnings of words among some rows, of the kind of the present
    text: white space before them or none, and a letter or digit first, or none."""
    kind = _kind(present)
    words = []
    for row in rows:
        try:
            word = _first_word(row.beyond.decode("utf-8"))
        except UnicodeDecodeError:  # not yet a whole character
            continue
        if row.special is None and word.strip() and _kind(word) == kind:
            words.append(word)
    return words


def _kind(text: str) -> tuple[bool, bool]:
    stripped = text.lstrip()
    return stripped != text, in_word(stripped[:1] or " ")


def _first_word(text: str) -> str:
    """Return the first word of `text`, with white space before it; all of it where no
    word surely ends."""
    begin = len(text) - len(text.lstrip())
    ends = (i for i in range(begin + 1, len(text)) if can_cut(text, i))
    return text[: next(ends, len(text))]
