"""Instrument: the distribution of the next token after a text that is being typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import Distribution, RankedCandidate
from lmtui.learn.figure import Figure, Words, bars
from lmtui.learn.instrument import Measurement, Options
from lmtui.learn.instruments.texts import (
    ScoredExcerpt,
    TextInstrument,
    excerpt,
    expect,
    last_word,
    prob,
    score,
    total_logprob,
    word_tokens,
)
from lmtui.text import visible_line

_LIKELY = 0.9
"""Probability of the most probable token from which the model is nearly sure."""


@dataclass(frozen=True, slots=True)
class _Expected:
    """A text, the distribution after it, and the rows of words that always have one, as
    far as each is a token of this model."""

    text: str
    distribution: Distribution
    pinned: tuple[RankedCandidate, ...]


class BarsInstrument(TextInstrument):
    """What the model expects after a text, at every keystroke; Enter shows how probable
    the last word was."""

    NAME = "bars"
    OPTIONS: ClassVar[Options] = {
        "text": "",  # the text at the beginning
        "rows": 8,  # number of bars
        "word": "",  # the word that has to be tried for the exercise `word`
        "pinned": "",  # words that always have a row, with commas between them
    }
    ASKS = "Text"
    LIVE = True

    _shown: _Expected | None = None
    _scored: ScoredExcerpt | None = None
    """The text that was entered last."""

    def typed(self, text: str) -> Measurement | None:
        if len(text) == len(self.entered) + 1:  # a letter, not a paste
            self.done.add("typed")
        return self.look(text)

    def enter(self, text: str) -> Measurement | None:
        if not last_word(text):
            self.message = "Write at least two words."
            return None

        def then(scored: ScoredExcerpt) -> None:
            self._scored, self.message = scored, ""
            if last_word(text).strip().lower() == self.options["word"].lower():
                self.done.add("word")

        return Measurement(lambda engine, _: score(engine, text, top_n=1), then)

    def read(self, engine: Engine, text: str) -> _Expected:
        after = expect(engine, text, top_n=self.options["rows"])
        words = [word.strip() for word in self.options["pinned"].split(",")]
        pinned = (_pin(engine, after, f" {word}") for word in words if word)
        return _Expected(text, after, tuple(filter(None, pinned)))

    def show(self, result: _Expected) -> None:
        super().show(result)
        if result.distribution.candidates[0].prob > _LIKELY:
            self.done.add("sure")

    @property
    def figure(self) -> Figure:
        if self._shown is None:
            return ()
        text, after = self._shown.text, self._shown.distribution
        summed = sum(row.prob for row in after.candidates) + after.rest_prob
        drawing = bars(
            f"After “{excerpt(text)}”",
            after.candidates,
            after.rest_prob,
            pinned=self._shown.pinned,
            note=f"All {after.vocabulary:,} tokens together: {summed:.1%}.",
        )
        if self._scored is None or self._scored.text != text:
            return (drawing,)
        return (_about_word(self._scored), drawing)


def _about_word(scored: ScoredExcerpt) -> Words:
    word, end = last_word(scored.text).strip(), len(scored.text.rstrip())
    tokens = [scored.tokens[n] for n in word_tokens(scored, end - len(word), end)]
    ranks = ", ".join(notation.rank(token.rank) for token in tokens)
    which = f"rank {ranks}"
    if len(tokens) > 1:
        which = f"it is {len(tokens)} tokens, with the ranks {ranks}"
    chance = notation.chance(prob(total_logprob(tokens)))
    return Words(f"“{visible_line(word)}” was given {chance}: {which}.", "strong")


def _pin(engine: Engine, after: Distribution, text: str) -> RankedCandidate | None:
    """Return the row of the token with this text; None where there is none."""
    matches = engine.search_vocabulary(after.handle, text, SamplingSettings())
    return next((row for row in matches.rows if row.candidate.text == text), None)
