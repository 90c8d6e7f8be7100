"""Instrument: surprise is the loss. The surprisal of each token of a text, and what is
made of all of them: cross-entropy, perplexity, bits per byte."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from lmtui import notation
from lmtui.engine.scoring.totals import Sums
from lmtui.learn.figure import (
    Cell,
    Column,
    Figure,
    ShadedText,
    ShadedToken,
    Table,
    Words,
    row,
)
from lmtui.learn.instrument import Action, Instrument, Measurement, Option
from lmtui.learn.instruments.texts import (
    Reading,
    sample_of,
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
_BAR = " | "
_NAMES = ("A", "B")
_SHORTEST = 40
"""Fewest characters of a sentence of the learner's own text that is in a pair."""


def _fault(pair: str) -> str:
    """Return what is wrong with the option of a pair."""
    texts = [text for text in pair.split(_BAR) if text.strip()]
    return "" if len(texts) == 2 and pair.count("|") == 1 else "these are not two texts"


class SurpriseInstrument(Instrument):
    """A text shaded by surprisal with its totals; and pairs of texts, of which the
    learner says which one the model finds likelier."""

    NAME = "surprise"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("The text at the beginning."),
        **{
            name: Option("Two texts with | between them.", fault=_fault)
            for name in _PAIRS
        },
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "typed": "the text was changed",
        "guess": "it was said which of two texts is likelier",
        "below": f"a text with a perplexity below {_LOW} was entered, with at least "
        f"{_FEWEST} tokens that have a number",
        "above": f"a text with a perplexity above {_HIGH:,} was entered, as long",
    }
    ACTIONS: ClassVar[Sequence[Action]] = (
        Action("pair", "two texts", "Show two texts; which one is likelier?"),
        Action("first", "say A", "Say that text A has fewer bits per byte."),
        Action("second", "say B", "Say that text B has fewer bits per byte."),
    )
    ASKS = "Text"

    _shown: Reading | None = None
    _pair: tuple[str, ...] = ()
    """The two texts that are shown in place of the learner's."""
    _answer: int | None = None
    _readings: Sequence[Reading] = ()
    _pairs_shown = 0
    _answered = 0
    _right = 0

    def begin(self) -> Measurement | None:
        self.entered = sample_of(self.material, self.options["text"])
        return self._score(self.entered, self._take)

    def typed(self, text: str) -> Measurement | None:
        if text != self.entered:
            self.done.add("typed")
        return self._score(text, self._take)

    def enter(self, text: str) -> Measurement | None:
        def take(reading: Reading) -> None:
            self._take(reading)
            sums = _sums(reading)
            value = None if sums is None else sums.perplexity
            if value is None and len(reading.tokens) > 1:
                self.message = "The server does not tell all numbers of this text."
            elif value is None or reading.scored < _FEWEST:
                self.message = "This is too short: write at least five words."
            else:
                self.message = self._judged(value)

        return self._score(text, take)

    def _score(self, text: str, take: Callable[[Reading], None]) -> Measurement | None:
        self._pair, self.message = (), ""
        if not text.strip():
            self.message = "Write a text."
            return None
        return Measurement(lambda engine, _: score_edited(engine, text), take)

    def _judged(self, perplexity: float) -> str:
        """Return where the perplexity of what was entered lies."""
        shown = notation.perplexity(perplexity)
        if perplexity < _LOW:
            self.done.add("below")
            return f"Perplexity {shown}: below {_LOW}."
        if perplexity > _HIGH:
            self.done.add("above")
            return f"Perplexity {shown}: above {_HIGH:,}."
        return f"Perplexity {shown}: between {_LOW} and {_HIGH:,}."

    def _take(self, reading: Reading) -> None:
        self._shown, self.message = reading, ""

    def act(self, action: str) -> Measurement | None:
        if action == "pair":
            self._show_pair()
            return None
        if not self._pair:
            self.message = "Show two texts first."
            return None
        if self._answer is not None:
            self.message = "You have answered; go on to the next two texts."
            return None
        answer, texts = int(action == "second"), self._pair

        return Measurement(
            lambda engine, _: tuple(score(engine, text) for text in texts),
            lambda readings: self._take_answer(answer, readings),
        )

    def _show_pair(self) -> None:
        pairs = self._pairs()
        if not pairs:
            self.message = "This page has no two texts to compare."
            return
        self._pair = pairs[self._pairs_shown % len(pairs)]
        self._pairs_shown += 1
        self._answer, self._readings, self.message = None, (), ""

    def _pairs(self) -> Sequence[tuple[str, ...]]:
        """Return the pairs of the page; of the learner's own text, its sentences."""
        if self.material.is_own:
            found = [s for s in sentences_of(self.material.text) if len(s) >= _SHORTEST]
            own = [*zip(found[::2], found[1::2], strict=False)]
            if own:
                return own
        given = [self.options[name] for name in _PAIRS]
        return [
            tuple(text.strip() for text in pair.split(_BAR)) for pair in given if pair
        ]

    def _take_answer(self, answer: int, readings: tuple[Reading, ...]) -> None:
        if self._pair != tuple(reading.text for reading in readings):
            return  # the learner has gone on
        self._answer, self._readings, self.message = answer, readings, ""
        rates = [_rate(reading) for reading in readings]
        self.done.add("guess")
        if None in rates:
            self.message = "The server does not tell all numbers of these texts."
            return
        self._answered += 1
        self._right += rates[answer] == min(rate for rate in rates if rate is not None)

    @property
    def figure(self) -> Figure:
        """The text or the pair, and its totals."""
        if self._pair:
            return tuple(self._pair_parts())
        if self._shown is None:
            return ()
        shown = self._shown
        return (shaded("", shown), totals_of(shown), token_table(shown))

    @property
    def measured(self) -> str | None:
        """The learner's text, unless a pair is shown in its place."""
        return None if self._pair or self._shown is None else self._shown.text

    def _pair_parts(self) -> Sequence[Words | ShadedText | Table]:
        if self._answer is None:
            question = Words("Which one has fewer bits per byte?", "strong")
            texts = zip(_NAMES, self._pair, strict=True)
            return [question, *(Words(f"{name}: {text}") for name, text in texts)]
        rates = [_rate(reading) for reading in self._readings]
        known = [rate for rate in rates if rate is not None]
        verdict = f"You said {_NAMES[self._answer]}."
        if len(known) == 2:
            best = _NAMES[known.index(min(known))]
            right = "Right" if known[self._answer] == min(known) else "Not so"
            verdict = (
                f"{right}: {best} is likelier per byte. "
                f"{self._right} of {self._answered} right."
            )
        texts_with = zip(_NAMES, self._readings, strict=True)
        return [
            _both(verdict, self._readings),
            *(shaded(name, reading) for name, reading in texts_with),
        ]


def _sums(reading: Reading) -> Sums | None:
    """Return the sums over all tokens that have a number; None where a server does not
    tell all of them."""
    if reading.total is None:
        return None
    scored = [token for token in reading.tokens if token.logprob is not None]
    size = sum(len(token.bytes) for token in scored)
    return Sums("", reading.total, len(scored), len(reading.tokens), 0, size)


def _rate(reading: Reading) -> float | None:
    sums = _sums(reading)
    return None if sums is None else sums.bits_per_byte


def shaded(title: str, reading: Reading) -> ShadedText:
    tokens = (
        ShadedToken(
            token.text, None if token.logprob is None else notation.bits(token.logprob)
        )
        for token in reading.tokens
    )
    return ShadedText(title, tuple(tokens))


def _totals(reading: Reading) -> Sequence[str]:
    """Return loss, perplexity and bits per byte, each as it is shown."""
    sums = _sums(reading)
    if sums is None:
        return [notation.NONE] * 3
    return [
        notation.rate(sums.mean_nll),
        notation.perplexity(sums.perplexity),
        notation.rate(sums.bits_per_byte),
    ]


def totals_of(reading: Reading) -> Table:
    """Return the totals of a text, one a row, with what each is made of."""
    loss, perplexity, rate = _totals(reading)
    sums = _sums(reading)
    size = notation.count(None if sums is None else sums.bytes)
    columns = (Column(""), Column("", right=True), Column("", grows=True))
    rows = (
        row(notation.SURPRISAL.full, notation.surprisal(reading.total), "the sum"),
        row(notation.LOSS.full, loss, f"the mean of {reading.scored:,} tokens"),
        row(notation.PERPLEXITY.full, perplexity, "exp of the loss"),
        row(notation.PER_BYTE.full, rate, f"the sum over {size} bytes"),
    )
    return Table("", columns, rows)


def token_table(reading: Reading) -> Table:
    """Return the tokens of a text with what their surprisal is made of."""
    columns = (
        Column("token"), Column("p", right=True), Column("−log p, nats", right=True),
        Column(notation.SURPRISAL.short, right=True),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for token in reading.tokens:
        logprob = token.logprob
        nats = None if logprob is None else max(0.0, -logprob)
        rows.append(
            row(
                visible_token(token.text),
                notation.chance(None if logprob is None else math.exp(logprob)),
                notation.number(nats),
                notation.surprisal(logprob),
            )
        )
    return Table("", columns, tuple(rows))


def _both(title: str, readings: Sequence[Reading]) -> Table:
    """Return the totals of two texts, one a row."""
    columns = (
        Column(""), Column(notation.PER_BYTE.full, right=True),
        Column(notation.PERPLEXITY.full, right=True),
        Column(notation.SURPRISAL.full, right=True),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for name, reading in zip(_NAMES, readings, strict=True):
        _, perplexity, rate = _totals(reading)
        rows.append(row(name, rate, perplexity, notation.surprisal(reading.total)))
    return Table(title, columns, tuple(rows))
