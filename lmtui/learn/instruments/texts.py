"""Texts as several instruments read them: scored, cut to size, and their last words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lmtui.engine.protocol import Engine
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Distribution,
    Encoding,
    ScoredToken,
    Step,
)
from lmtui.errors import LmtuiError
from lmtui.learn.instrument import Instrument, Material, Measurement

LONGEST = 256
"""Most tokens of a text that is typed into an instrument."""
_EXCERPT = 40
"""Most characters of a text that is named in a title."""


class TextInstrument(Instrument):
    """Instrument whose figure is of one text: the page's, or a sentence of the
    learner's own, then what is entered; where it is `LIVE`, what is typed."""

    LIVE: ClassVar[bool] = False
    WORDS: ClassVar[str] = "computing"
    """What the model does, for the status line."""

    _shown: Any = None
    """What was read last; its `text` is what the figure is of."""

    def begin(self) -> Measurement | None:
        self.entered = sample_of(self.material, self.options["text"])
        return self.look(self.entered)

    def typed(self, text: str) -> Measurement | None:
        if not self.LIVE:
            return None
        if text != self.entered:
            self.done.add("typed")
        return self.look(text)

    def enter(self, text: str) -> Measurement | None:
        return self.look(text)

    def look(self, text: str) -> Measurement | None:
        if text.strip():
            return self.measure(text)
        self.message = "Write something: a model needs a text to go on from."
        return None

    def measure(self, text: str) -> Measurement:
        return Measurement(
            lambda engine, _: self.read(engine, text), self.show, words=self.WORDS
        )

    def read(self, engine: Engine, text: str) -> Any:
        """Return what the figure of a text is drawn from."""
        raise NotImplementedError

    def show(self, result: Any) -> None:
        """Show what was read; another text than before is what is `entered`."""
        if self._shown and result.text != self._shown.text and not self.LIVE:
            self.done.add("entered")
        self._shown, self.message = result, ""

    @property
    def measured(self) -> str | None:
        text: str | None = None if self._shown is None else self._shown.text
        return text


@dataclass(frozen=True, slots=True)
class ScoredExcerpt:
    text: str
    tokens: tuple[ScoredToken, ...]
    spans: tuple[tuple[int, int], ...]
    """Start and end of each token in code points."""

    @property
    def total(self) -> float | None:
        """Σ log P in nats, of all tokens but a first one without context."""
        first = int(self.tokens[0].logprob is None) if self.tokens else 0
        return total_logprob(self.tokens[first:])

    @property
    def scored(self) -> int:
        """Number of tokens that have a log-probability."""
        return sum(token.logprob is not None for token in self.tokens)


def total_logprob(tokens: Iterable[ScoredToken | Step]) -> float | None:
    """Return Σ log P in nats; None where a server does not tell all of them, or there
    are none."""
    logprobs = [token.logprob for token in tokens]
    known = [logprob for logprob in logprobs if logprob is not None]
    return math.fsum(known) if known and len(known) == len(logprobs) else None


def prob(logprob: float | None) -> float | None:
    """Return exp of a log-probability, as far as it is known."""
    return None if logprob is None else math.exp(logprob)


def encoded(engine: Engine, text: str, longest: int = LONGEST) -> Encoding:
    """Tokenise a text for an instrument."""
    encoding = engine.encode(text)
    if len(encoding.ids) > longest:
        raise LmtuiError(
            "this text is too long here",
            f"{len(encoding.ids):,} tokens",
            f"Write at most {longest} tokens; `lmtui inspect` reads any length.",
        )
    return encoding


def expect(engine: Engine, text: str, *, top_n: int) -> Distribution:
    encoding = encoded(engine, text)
    return engine.next_distribution(
        (*encoding.prefix, *encoding.ids), SamplingSettings(), top_n=top_n
    )


def score(engine: Engine, text: str, *, top_n: int = 0) -> ScoredExcerpt:
    encoding = encoded(engine, text)
    tokens = engine.score(encoding.ids, prefix=encoding.prefix, top_n=top_n)
    return ScoredExcerpt(text, tuple(tokens), encoding.spans)


def score_edited(engine: Engine, text: str) -> ScoredExcerpt:
    """Score a text that is being typed: of the one before, only what differs is run."""
    encoded(engine, text)
    parts = [*engine.document.score_span(text, 0, len(text))]
    return ScoredExcerpt(
        text,
        tuple(token for part in parts for token in part.tokens),
        tuple(span for part in parts for span in part.spans),
    )


def word_tokens(scored: ScoredExcerpt, start: int, end: int) -> Sequence[int]:
    """Return the numbers of the tokens of the word from `start` to `end`, with the
    space before it."""
    space = len(scored.text[:start].rstrip())
    return [
        number
        for number, (first, last) in enumerate(scored.spans)
        if first < end and (last > start or (first >= space and last > space))
    ]


def last_word(text: str) -> str:
    """Return the last word of a text with the space before it; empty where it is the
    only one."""
    match = re.search(r"\s\S+$", text.rstrip())
    return match[0] if match else ""


def excerpt(text: str) -> str:
    """Return a text as it can stand in a title: its end, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else f"…{line[1 - _EXCERPT :]}"


def sample_of(material: Material, given: str) -> str:
    """Return the sentence that a page gives; of the learner's own text, the first one
    instead, as far as it has any."""
    return next(iter(sentences_of(material.text)), given) if material.is_own else given


def sentences_of(text: str, *, most: int = 200) -> Sequence[str]:
    """Return the first sentences of a text that are neither very short nor long, each
    on one line."""
    sentences = re.findall(r"[^.!?]+[.!?]+", text[: 400 * most])
    lines = (" ".join(sentence.split()) for sentence in sentences)
    return [line for line in lines if 20 <= len(line) <= 160][:most]
