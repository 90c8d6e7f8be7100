"""Instrument: surprise is the loss. The surprisal of each token of a text, and what is
made of all of them: cross-entropy, perplexity, bits per byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from lmtui import notation
from lmtui.engine.scoring.totals import Sums
from lmtui.learn.figure import Column, Figure, ShadedText, Table, Words, row
from lmtui.learn.instrument import Action, Measurement, Options
from lmtui.learn.instruments.texts import (
    ScoredExcerpt,
    TextInstrument,
    prob,
    score,
    score_edited,
    sentences_of,
)
from lmtui.text import visible_token

_LOW, _HIGH = 10, 1000
"""Perplexities of the exercises `below` and `above`."""
_FEWEST = 4
"""Fewest scored tokens of a text for these exercises: of one or two it says little, and
five words have at least as many."""
_PAIRS = ("pair-a", "pair-b", "pair-c", "pair-d", "pair-e")
_NAMES = ("A", "B")
_SHORTEST = 40
"""Fewest characters of a sentence of the learner's own text that is in a pair."""

Pair = tuple[str, str]


class SurpriseInstrument(TextInstrument):
    """A text shaded by surprisal with its totals; and pairs of texts, of which the
    learner says which one the model finds likelier."""

    NAME = "surprise"
    OPTIONS: ClassVar[Options] = dict.fromkeys(("text", *_PAIRS), "")
    ACTIONS: ClassVar[Sequence[Action]] = (
        Action("pair", "two texts"),
        Action("first", "say A"),
        Action("second", "say B"),
    )
    ASKS = "Text"
    LIVE = True

    _shown: ScoredExcerpt | None = None
    _pair: Pair | None = None
    """The two texts that are shown in place of the learner's."""
    _answer: int | None = None
    _scored_pair: Sequence[ScoredExcerpt] = ()
    _pairs_shown = 0
    _answered = 0
    _right = 0

    def look(self, text: str) -> Measurement | None:
        self._pair, self.message = None, ""
        return super().look(text)

    def measure(self, text: str) -> Measurement:
        return Measurement(lambda engine, _: score_edited(engine, text), self.show)

    def enter(self, text: str) -> Measurement | None:
        def then(scored: ScoredExcerpt) -> None:
            self.show(scored)
            self._judge(scored)

        if self.look(text) is None:
            return None
        return Measurement(lambda engine, _: score_edited(engine, text), then)

    def _judge(self, scored: ScoredExcerpt) -> None:
        sums = _sums(scored)
        value = None if sums is None else sums.perplexity
        if value is None and len(scored.tokens) > 1:
            self.message = "The server does not tell all numbers of this text."
        elif value is None or scored.scored < _FEWEST:
            self.message = "This is too short: write at least five words."
        else:
            where = f"between {_LOW} and {_HIGH:,}"
            if value < _LOW:
                self.done.add("below")
                where = f"below {_LOW}"
            elif value > _HIGH:
                self.done.add("above")
                where = f"above {_HIGH:,}"
            self.message = f"Perplexity {notation.perplexity(value)}: {where}."

    def act(self, action: str) -> Measurement | None:
        if action == "pair":
            self._show_pair()
            return None
        if self._pair is None:
            self.message = "Show two texts first."
            return None
        if self._answer is not None:
            self.message = "You have answered; go on to the next two texts."
            return None
        answer, texts = int(action == "second"), self._pair
        return Measurement(
            lambda engine, _: [score(engine, text) for text in texts],
            lambda scored: self._note_answer(answer, texts, scored),
        )

    def _show_pair(self) -> None:
        pairs = self._pairs()
        if not pairs:
            self.message = "This page has no two texts to compare."
            return
        self._pair = pairs[self._pairs_shown % len(pairs)]
        self._pairs_shown += 1
        self._answer, self._scored_pair, self.message = None, (), ""

    def _pairs(self) -> Sequence[Pair]:
        """Return the pairs of the page; of the learner's own text, its sentences."""
        if self.material.is_own:
            long = [s for s in sentences_of(self.material.text) if len(s) >= _SHORTEST]
            if len(long) > 1:
                return [*zip(long[::2], long[1::2], strict=False)]
        pairs = (self.options[name].split(" | ") for name in _PAIRS)
        return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]

    def _note_answer(
        self, answer: int, texts: Pair, scored: Sequence[ScoredExcerpt]
    ) -> None:
        if self._pair != texts:
            return  # the learner has gone on
        self._answer, self._scored_pair, self.message = answer, scored, ""
        self.done.add("guess")
        best = self._best()
        if best is None:
            self.message = "The server does not tell all numbers of these texts."
            return
        self._answered += 1
        self._right += answer in best

    def _best(self) -> Sequence[int] | None:
        pair = filter(None, map(_sums, self._scored_pair))
        known = [rate for sums in pair if (rate := sums.bits_per_byte) is not None]
        if len(known) < len(_NAMES):
            return None
        return [number for number, rate in enumerate(known) if rate == min(known)]

    @property
    def figure(self) -> Figure:
        if self._pair is not None:
            return self._pair_parts(self._pair)
        if self._shown is None:
            return ()
        shown = self._shown
        return (ShadedText("", shown.tokens), totals_of(shown), token_table(shown))

    @property
    def measured(self) -> str | None:
        return None if self._pair is not None else super().measured

    def _pair_parts(self, pair: Pair) -> Figure:
        if self._answer is None:
            question = Words("Which one has fewer bits per byte?", "strong")
            texts = zip(_NAMES, pair, strict=True)
            return [question, *(Words(f"{name}: {text}") for name, text in texts)]
        verdict, best = f"You said {_NAMES[self._answer]}.", self._best()
        if best is not None:
            right = "Right" if self._answer in best else "Not so"
            verdict = (
                f"{right}: {_NAMES[best[0]]} is likelier per byte. "
                f"{self._right} of {self._answered} right."
            )
        scored = list(zip(_NAMES, self._scored_pair, strict=True))
        columns = (
            Column(""), Column(notation.PER_BYTE.full, right=True),
            Column(notation.PERPLEXITY.full, right=True),
            Column(notation.SURPRISAL.full, right=True),
        )  # fmt: skip
        rows = []
        for name, text in scored:
            _, perplexity, rate = _totals(text)
            rows.append(row(name, rate, perplexity, notation.surprisal(text.total)))
        return [
            Table(verdict, columns, tuple(rows)),
            *(ShadedText(name, text.tokens) for name, text in scored),
        ]


def _sums(scored: ScoredExcerpt) -> Sums | None:
    """Return the sums over all tokens that have a number; None where a server does not
    tell all of them."""
    if scored.total is None:
        return None
    tokens = [token for token in scored.tokens if token.logprob is not None]
    size = sum(len(token.bytes) for token in tokens)
    return Sums("", scored.total, len(tokens), len(scored.tokens), 0, size)


def _totals(scored: ScoredExcerpt) -> Sequence[str]:
    sums = _sums(scored)
    if sums is None:
        return [notation.NONE] * 3
    return [
        notation.rate(sums.mean_nll),
        notation.perplexity(sums.perplexity),
        notation.rate(sums.bits_per_byte),
    ]


def totals_of(scored: ScoredExcerpt) -> Table:
    loss, perplexity, rate = _totals(scored)
    sums = _sums(scored)
    size = notation.count(None if sums is None else sums.bytes)
    columns = (Column(""), Column("", right=True), Column("", grows=True))
    rows = (
        row(notation.SURPRISAL.full, notation.surprisal(scored.total), "the sum"),
        row(notation.LOSS.full, loss, f"the mean of {scored.scored:,} tokens"),
        row(notation.PERPLEXITY.full, perplexity, "exp of the loss"),
        row(notation.PER_BYTE.full, rate, f"the sum over {size} bytes"),
    )
    return Table("", columns, rows)


def token_table(scored: ScoredExcerpt) -> Table:
    columns = (
        Column("token"), Column("p", right=True), Column("−log p, nats", right=True),
        Column(notation.SURPRISAL.short, right=True),
    )  # fmt: skip
    rows = []
    for token in scored.tokens:
        nats = None if token.logprob is None else max(0.0, -token.logprob)
        rows.append(
            row(
                visible_token(token.text),
                notation.chance(prob(token.logprob)),
                notation.number(nats),
                notation.surprisal(token.logprob),
            )
        )
    return Table("", columns, tuple(rows))
