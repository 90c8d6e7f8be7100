"""Instrument: the distribution of the next token after a text that is being typed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.types import (
    Distribution,
    RankedCandidate,
    SamplingSettings,
    ScoredToken,
)
from lmtui.learn.figure import Bars, Figure, Words
from lmtui.learn.instrument import Instrument, Measurement, Option
from lmtui.learn.instruments.texts import (
    Reading,
    excerpt,
    expect,
    last_word,
    sample_of,
    score,
)
from lmtui.text import visible_line

_LIKELY = 0.9
"""Probability of the most probable token from which the model is nearly sure."""


@dataclass(frozen=True, slots=True)
class _Typed:
    """A text and the distribution after it."""

    text: str
    distribution: Distribution
    pinned: tuple[RankedCandidate, ...]
    """The words that always have a row, as far as each is a token of this model."""


class BarsInstrument(Instrument):
    """What the model expects after a text, at every keystroke; Enter shows how probable
    the last word was."""

    NAME = "bars"
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "text": Option("The text at the beginning."),
        "rows": Option("Number of bars.", int, 8, low=1, high=20),
        "word": Option("The word that has to be tried for the exercise `word`."),
        "pinned": Option("Words that always have a row, with commas between them."),
    }
    EXERCISES: ClassVar[Mapping[str, str]] = {
        "typed": "the text was changed",
        "sure": "a text was found after which one token has more than 90%",
        "word": "the word of the option `word` was entered as the last one",
    }
    ASKS = "Text"
    HANDOUT: ClassVar[Sequence[tuple[str, str]]] = (("enter", "{entered} {word}"),)

    _shown: _Typed | None = None
    _last: Reading | None = None

    def begin(self) -> Measurement | None:
        self.entered = sample_of(self.material, self.options["text"])
        return self._look(self.entered)

    def typed(self, text: str) -> Measurement | None:
        if text != self.entered:
            self.done.add("typed")
        return self._look(text)

    def enter(self, text: str) -> Measurement | None:
        if not last_word(text):
            self.message = "Write at least two words."
            return None

        return Measurement(
            lambda engine, _: (
                score(engine, text, top_n=1),
                self._expect(engine, text),
            ),
            self._take_word,
        )

    def _look(self, text: str) -> Measurement | None:
        if not text.strip():
            self.message = "Write something: a model needs a text to go on from."
            return None
        return Measurement(lambda engine, _: self._expect(engine, text), self._take)

    def _expect(self, engine: Engine, text: str) -> _Typed:
        found = expect(engine, text, top_n=self.options["rows"])
        words = [word.strip() for word in self.options["pinned"].split(",")]
        pinned = (_pin(engine, found, f" {word}") for word in words if word)
        return _Typed(text, found, tuple(row for row in pinned if row is not None))

    def _take(self, typed: _Typed) -> None:
        self.message = ""
        self._shown = typed
        if typed.distribution.candidates[0].prob > _LIKELY:
            self.done.add("sure")

    def _take_word(self, entered: tuple[Reading, _Typed]) -> None:
        reading, typed = entered
        self._take(typed)
        self._last = reading
        if last_word(reading.text).strip().lower() == self.options["word"].lower():
            self.done.add("word")

    @property
    def figure(self) -> Figure:
        """The bars, and the last word that was entered."""
        if self._shown is None:
            return ()
        shown = self._shown.distribution
        summed = sum(row.prob for row in shown.candidates) + shown.rest_prob
        bars = Bars.of(
            f"After “{excerpt(self._shown.text)}”",
            shown,
            pinned=self._shown.pinned,
            note=f"All {shown.vocabulary:,} tokens together: {summed:.1%}.",
        )
        return (*self._about_word(), bars)

    @property
    def measured(self) -> str | None:
        """The text before the bars."""
        return None if self._shown is None else self._shown.text

    def _about_word(self) -> Figure:
        if self._last is None or self._last.text != self.measured:
            return ()
        word = last_word(self._last.text)
        tokens = self._last.tokens_from(len(self._last.text.rstrip()) - len(word))
        logprob = sum(token.logprob or 0.0 for token in tokens)
        return (
            Words(
                f"“{visible_line(word.strip())}” was given "
                f"{notation.chance(math.exp(logprob))}: {_ranks(tokens)}.",
                "strong",
            ),
        )


def _pin(engine: Engine, found: Distribution, text: str) -> RankedCandidate | None:
    """Return the row of the token with this text; None where there is none."""
    matches = engine.search_vocabulary(found.handle, text, SamplingSettings())
    for row in matches.rows:
        if row.candidate.text == text:
            candidate = row.candidate._replace(sampled_prob=None, cut=None)
            return replace(row, candidate=candidate)
    return None


def _ranks(tokens: Sequence[ScoredToken]) -> str:
    ranks = [notation.rank(token.rank) for token in tokens]
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return f"it is {len(ranks)} tokens, with the ranks {', '.join(ranks)}"
