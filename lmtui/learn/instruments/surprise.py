"""Instrument: surprise is the loss. The surprisal of each token of a text, and what is
made of all of them: cross-entropy, perplexity, bits per byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.scoring.totals import Sums
from lmtui.learn.figure import (
    Column,
    Figure,
    ShadedText,
    Table,
    Words,
    numbers,
    table,
)
from lmtui.learn.instrument import Measurement, Options
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
    ACTIONS: ClassVar[Mapping[str, str]] = {
        "pair": "two texts",
        "first": "say A",
        "second": "say B",
    }
    ASKS = "Text"
    LIVE = True

    _shown: ScoredExcerpt | None = None
    _pair: Pair | None = None
    """The two texts that are shown in place of the learner's."""
    _answer = 0
    """What the learner said: the number of a text."""
    _scored_pair: Sequence[ScoredExcerpt] = ()
    """Both texts, once the learner has answered."""
    _pairs_shown = 0
    _answered = 0
    _right = 0

    def look(self, text: str) -> Measurement | None:
        self._pair, self.message = None, ""
        return super().look(text)

    def read(self, engine: Engine, text: str) -> ScoredExcerpt:
        return score_edited(engine, text)

    def enter(self, text: str) -> Measurement | None:
        def then(scored: ScoredExcerpt) -> None:
            self.show(scored)
            self._judge(scored)

        measurement = self.look(text)
        return measurement and replace(measurement, then=then)

    def _judge(self, scored: ScoredExcerpt) -> None:
        value = _sums(scored).perplexity
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
        if self._scored_pair:
            self.message = "You have answered; go on to the next two texts."
            return None
        texts = self._pair
        self._answer = int(action == "second")
        return Measurement(
            lambda engine, _: [score(engine, text) for text in texts], self._show_answer
        )

    def _show_pair(self) -> None:
        pairs = self._pairs()
        if not pairs:
            self.message = "This page has no two texts to compare."
            return
        self._pair = pairs[self._pairs_shown % len(pairs)]
        self._pairs_shown += 1
        self._scored_pair, self.message = (), ""

    def _pairs(self) -> Sequence[Pair]:
        """Return the pairs of the page; of the learner's own text, its sentences."""
        if self.material.is_own:
            long = [s for s in sentences_of(self.material.text) if len(s) >= _SHORTEST]
            if len(long) > 1:
                return [*zip(long[::2], long[1::2], strict=False)]
        pairs = (self.options[name].split(" | ") for name in _PAIRS)
        return [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]

    def _show_answer(self, scored: Sequence[ScoredExcerpt]) -> None:
        self._scored_pair, self.message = scored, ""
        self.done.add("guess")
        best = self._best()
        if best:
            self._answered += 1
            self._right += self._answer in best
        else:
            self.message = "The server does not tell all numbers of these texts."

    def _best(self) -> Sequence[int]:
        """Return the texts with the fewest bits per byte; none while that is not
        known."""
        rates = [_sums(text).bits_per_byte for text in self._scored_pair]
        known = [rate for rate in rates if rate is not None]
        if len(known) < len(_NAMES):
            return ()
        return [number for number, rate in enumerate(rates) if rate == min(known)]

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
        if not self._scored_pair:
            question = Words("Which one has fewer bits per byte?", "strong")
            texts = zip(_NAMES, pair, strict=True)
            return [question, *(Words(f"{name}: {text}") for name, text in texts)]
        verdict, best = f"You said {_NAMES[self._answer]}.", self._best()
        if best:
            right = "Right" if self._answer in best else "Not so"
            verdict = (
                f"{right}: {_NAMES[best[0]]} is likelier per byte. "
                f"{self._right} of {self._answered} right."
            )
        scored = [*zip(_NAMES, self._scored_pair, strict=True)]
        columns = numbers(
            notation.PER_BYTE.full, notation.PERPLEXITY.full, notation.SURPRISAL.full
        )
        rows = (
            (
                name,
                notation.rate(_sums(text).bits_per_byte),
                notation.perplexity(_sums(text).perplexity),
                notation.surprisal(text.total),
            )
            for name, text in scored
        )
        return [
            table(("", *columns), rows, title=verdict),
            *(ShadedText(name, text.tokens) for name, text in scored),
        ]


def _sums(scored: ScoredExcerpt) -> Sums:
    """Return the sums over all tokens that have a number; over none where a server does
    not tell all of them."""
    known = [token for token in scored.tokens if token.logprob is not None]
    known = known if scored.total is not None else []
    size = sum(len(token.bytes) for token in known)
    return Sums("", scored.total or 0.0, len(known), len(scored.tokens), 0, size)


def totals_of(scored: ScoredExcerpt) -> Table:
    sums = _sums(scored)
    rate, size = notation.rate(sums.bits_per_byte), notation.count(sums.bytes or None)
    rows = (
        (notation.SURPRISAL.full, notation.surprisal(scored.total), "the sum"),
        (
            notation.LOSS.full,
            notation.rate(sums.mean_nll),
            f"the mean of {scored.scored:,} tokens",
        ),
        (
            notation.PERPLEXITY.full,
            notation.perplexity(sums.perplexity),
            "exp of the loss",
        ),
        (notation.PER_BYTE.full, rate, f"the sum over {size} bytes"),
    )
    return table(("", *numbers(""), Column("", grows=True)), rows)


def token_table(scored: ScoredExcerpt) -> Table:
    rows = (
        (
            visible_token(token.text),
            notation.chance(prob(token.logprob)),
            notation.number(token.logprob and -token.logprob),
            notation.surprisal(token.logprob),
        )
        for token in scored.tokens
    )
    heads = numbers("p", "−log p, nats", notation.SURPRISAL.short)
    return table(("token", *heads), rows)
