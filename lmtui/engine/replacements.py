"""Replacements of a word, by how well they fit the text on both sides.

Candidates are the beginnings that the model finds most probable there, completed to
whole words, and words of the text. All are scored with a little of the text that
follows, and the best of them with more. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from lmtui.engine.cloze import (
    FOLLOWING,
    LONGEST,
    Cloze,
    Filling,
    FillingScore,
    cloze_at,
)
from lmtui.engine.completion import CompletionModel, ContextPlanner, DocumentReader
from lmtui.engine.editor_types import Replacement
from lmtui.engine.generate import generate_rows
from lmtui.engine.path_scores import reads_trees
from lmtui.engine.protocol import ReportCount, ReportReplacements
from lmtui.engine.rows import steps_of
from lmtui.engine.token_healing import HealedDistribution, HealedRow
from lmtui.engine.words import can_cut, in_word, words_like

BEGINNINGS = 200
"""Rows of the healed distribution that may begin a candidate."""
FROM_TEXT = 64
"""Most words of the text among the candidates."""

_FEW = 12  # beginnings where each candidate costs a pass of its own
_ROUNDS = ((48, 4), (16, FOLLOWING))
"""How many candidates a round scores at most (more where more are asked for), and with
how many of the tokens that follow."""
_AHEAD = 4  # tokens decoded after a word


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
        self._layout = layout
        self._end_ids = end_ids | model.vocabulary.specials

    def find(
        self,
        text: str,
        start: int,
        end: int,
        *,
        count: int,
        progress: ReportCount | None = None,
        partial: ReportReplacements | None = None,
    ) -> list[Replacement]:
        """Return texts that could stand from `start` to `end`, the most probable
        together with what follows first; empty without context. `partial` takes the
        best of those that are known so far, with what follows where that is scored.
        """
        cloze = cloze_at(self._model, self._scorer, self._layout, text, (start, end))
        if cloze is None:
            return []
        # 1) candidates: probable beginnings, and words of the text
        many = reads_trees(self._model.backend, self._model.cache)
        healed = self._scorer.continuations(
            cloze.context, cloze.typed, top_n=BEGINNINGS
        )
        present, whole = text[start:end], can_cut(text, start) and can_cut(text, end)
        begun = _beginnings(healed.rows, present)[: None if many else _FEW]
        known = words_like(text, start, end, count=FROM_TEXT) if many and whole else []
        # 2) score them, and the best of them with more of what follows
        rounds = [(max(most, count), following) for most, following in _ROUNDS]
        search = _Search(cloze, present, rounds, progress=progress)

        def tell(early: list[_Candidate], scored: Sequence[_Candidate] = ()) -> None:
            rows = _listed(scored, healed, cloze)
            sure, is_end = {row.text for row in rows}, not cloze.following
            for row in _listed(search.best(early, count), healed, cloze):
                if row.text not in sure:
                    rows.append(replace(row, following=None, is_scored=is_end))
            if partial and rows:
                partial(rows[:count])

        pool = self._words(search, [present, *known], begun, tell, whole=whole)
        for number, (most, following) in enumerate(rounds, 1):
            for scored in search.growing(search.best(pool, most), following):
                if number == len(rounds):
                    tell(pool, search.best(scored, count))
            pool = scored
        # 3) what the model would write after the best
        best = search.best(pool, count)
        ahead = self._ahead(cloze, [each.filling for each in best])
        return [
            replace(each, ahead=written)
            for each, written in zip(_listed(best, healed, cloze), ahead, strict=True)
        ]

    def _words(
        self,
        search: _Search,
        known: Sequence[str],
        begun: Sequence[str],
        tell: Callable[[list[_Candidate]], object],
        *,
        whole: bool,
    ) -> list[_Candidate]:
        """Score candidates that are known and those that are begun, which are completed
        where a `whole` word is replaced. `tell` takes the words among them
        meanwhile."""
        words: list[_Candidate] = []
        seen = 0
        for pool in search.growing_words([*known[:1], *begun, *known[1:]]):
            words += [
                each
                for each in pool[seen:]
                if not whole
                or each.filling.text not in begun
                or self._grown(each) is None
            ]
            seen = len(pool)
            tell(words)
        if whole:
            pool = self._completed(search, pool, set(begun))
            tell(pool)
        return pool

    def _completed(
        self, search: _Search, pool: list[_Candidate], begun: set[str]
    ) -> list[_Candidate]:
        """Return the candidates with the words that the beginnings among them greedily
        become. A beginning that goes on stays where text follows, which then says
        whether it is a word."""
        stays, new = bool(search.cloze.following), pool
        for _ in range(LONGEST):
            grown = {
                each.filling.text: word
                for each in new
                if each.filling.text in begun and (word := self._grown(each))
            }
            if not stays:
                pool = [each for each in pool if each.filling.text not in grown]
            known = {each.filling.text for each in pool}
            begun = set(grown.values()) - known
            if not begun:
                break
            new = search.scored(sorted(begun))
            pool = [*pool, *new]
        return pool

    def _grown(self, candidate: _Candidate) -> str | None:
        """Return the word that continues a candidate by the most probable token; None
        where that token does not continue it."""
        word, token = candidate.filling.text, int(candidate.score.next.argmax())
        if token in self._end_ids:
            return None
        longer = word + self._model.vocabulary.bytes(token).decode("utf-8", "ignore")
        if longer == word or can_cut(longer, len(word)):
            return None
        return _first_word(longer)

    def _ahead(self, cloze: Cloze, fillings: Sequence[Filling]) -> list[str]:
        """Return what the model greedily writes after each; empty where that would go
        on with the word."""
        model = self._model
        begins = [each.ids[: each.own] for each in fillings]
        room = model.context - len(cloze.context) - max(map(len, begins))
        written = [list[int]() for _ in begins]
        answers = [
            model.greedy(begin, min(_AHEAD, room), self._end_ids) for begin in begins
        ]
        for index, step in steps_of(generate_rows(model.cache, answers, cloze.context)):
            written[index].append(step.id)
        lengths = [len(self._spelled(begin)) for begin in begins]
        texts = map(self._spelled, written)
        ahead = [text[size:] for text, size in zip(texts, lengths, strict=True)]
        return [
            text if can_cut(each.text + text, len(each.text)) else ""
            for each, text in zip(fillings, ahead, strict=True)
        ]

    def _spelled(self, ids: Iterable[int]) -> str:
        data = (self._model.vocabulary.bytes(i) for i in ids if i not in self._end_ids)
        return b"".join(data).decode("utf-8", "ignore")


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Candidate as it was scored in the last round."""

    filling: Filling
    score: FillingScore

    @property
    def promise(self) -> float:
        """Natural log of the probability of what was scored, and of the token that
        follows it in the text."""
        score, filling = self.score, self.filling
        rest = filling.ids[filling.own + score.count :]
        return score.total + (float(score.next[rest[0]]) if rest else 0.0)


class _Search:
    """Scores candidates for one gap, in rounds."""

    def __init__(
        self,
        cloze: Cloze,
        present: str,
        rounds: Sequence[tuple[int, int]],
        *,
        progress: ReportCount | None,
    ) -> None:
        """`present` is the text in the gap, which stays in every round."""
        self.cloze = cloze
        self._present = present
        self._rounds = rounds
        self._progress = progress or (lambda done, total: None)
        self._words = 0  # candidates so far
        self._done = 0  # scores so far

    def scored(self, words: Iterable[str]) -> list[_Candidate]:
        """Score further words, without what follows."""
        *_, scored = self.growing_words(words)
        return scored

    def growing_words(self, words: Iterable[str]) -> Iterator[list[_Candidate]]:
        """Score further words, without what follows; yield those that are scored,
        whenever there are more."""
        fillings = [self.cloze.fill(word) for word in dict.fromkeys(words)]
        self._words += len(fillings)
        yield from self._run(fillings, 0)

    def growing(
        self, pool: Sequence[_Candidate], following: int
    ) -> Iterator[list[_Candidate]]:
        """Score candidates with so many tokens that follow; yield those that are
        scored, whenever there are more."""
        yield from self._run([each.filling for each in pool], following)

    def best(self, pool: Sequence[_Candidate], most: int) -> list[_Candidate]:
        """Return the most promising candidates, best first; the present text is one."""

        def order(each: _Candidate) -> tuple[float, str]:
            return -each.promise, each.filling.text

        ranked = sorted(pool, key=order)
        first = [each for each in ranked if each.filling.text == self._present]
        first += [each for each in ranked if each.filling.text != self._present]
        return sorted(first[: max(1, most)], key=order)

    def _run(
        self, fillings: Sequence[Filling], following: int
    ) -> Iterator[list[_Candidate]]:
        done: list[_Candidate] = []
        self._report(0)
        for part in self.cloze.scores(fillings, following=following):
            done += map(_Candidate, fillings[len(done) :], part)
            self._report(len(part))
            yield done

    def _report(self, more: int) -> None:
        self._done += more
        later = sum(min(most, self._words) for most, _ in self._rounds)
        self._progress(self._done, self._words + later)


def _listed(
    candidates: Iterable[_Candidate], healed: HealedDistribution, cloze: Cloze
) -> list[Replacement]:
    return [
        Replacement(
            text=each.filling.text,
            logprob=each.score.own - healed.logprob,
            ahead="",
            following=each.score.following if cloze.following else None,
        )
        for each in candidates
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
