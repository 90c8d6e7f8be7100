"""Instrument: the distribution of the next token after a text that is being typed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from lmtui import notation
from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Distribution,
    RankedCandidate,
)
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
    scored: ScoredExcerpt | None = None
    """The text itself, where it was entered."""


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

    _shown: _Expected | None = None

    def measure(self, text: str) -> Measurement:
        return Measurement(lambda engine, _: self._expect(engine, text), self.show)

    def typed(self, text: str) -> Measurement | None:
        if len(text) == len(self.entered) + 1:  # a letter, not a paste
            self.done.add("typed")
        return self.look(text)

    def enter(self, text: str) -> Measurement | None:
        if not last_word(text):
            self.message = "Write at least two words."
            return None

        def run(engine: Engine, _: object) -> _Expected:
            return replace(
                self._expect(engine, text), scored=score(engine, text, top_n=1)
            )

        return Measurement(run, self.show)

    def _expect(self, engine: Engine, text: str) -> _Expected:
        after = expect(engine, text, top_n=self.options["rows"])
        words = [word.strip() for word in self.options["pinned"].split(",")]
        pinned = (_pin(engine, after, f" {word}") for word in words if word)
        return _Expected(text, after, tuple(filter(None, pinned)))

    def show(self, result: _Expected) -> None:
        if result.scored is None and self._shown and result.text == self._shown.text:
            result = replace(result, scored=self._shown.scored)
        super().show(result)
        if result.distribution.candidates[0].prob > _LIKELY:
            self.done.add("sure")
        word = last_word(result.text).strip().lower()
        if result.scored and word == self.options["word"].lower():
            self.done.add("word")

    @property
    def figure(self) -> Figure:
        if self._shown is None:
            return ()
        after = self._shown.distribution
        summed = sum(row.prob for row in after.candidates) + after.rest_prob
        drawing = bars(
            f"After “{excerpt(self._shown.text)}”",
            after.candidates,
            after.rest_prob,
            pinned=self._shown.pinned,
            note=f"All {after.vocabulary:,} tokens together: {summed:.1%}.",
        )
        scored = self._shown.scored
        return (drawing,) if scored is None else (_about_word(scored), drawing)


def _about_word(scored: ScoredExcerpt) -> Words:
    word = last_word(scored.text)
    start = len(scored.text.rstrip()) - len(word)
    pairs = zip(scored.tokens, scored.spans, strict=True)
    tokens = [token for token, span in pairs if span[0] >= start]
    ranks = [notation.rank(token.rank) for token in tokens]
    which = (
        f"rank {ranks[0]}"
        if len(ranks) == 1
        else f"it is {len(ranks)} tokens, with the ranks {', '.join(ranks)}"
    )
    chance = notation.chance(prob(total_logprob(tokens)))
    return Words(
        f"“{visible_line(word.strip())}” was given {chance}: {which}.", "strong"
    )


def _pin(engine: Engine, after: Distribution, text: str) -> RankedCandidate | None:
    """Return the row of the token with this text; None where there is none."""
    matches = engine.search_vocabulary(after.handle, text, SamplingSettings())
    return next((row for row in matches.rows if row.candidate.text == text), None)
