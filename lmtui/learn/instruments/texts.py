"""Texts as several instruments read them: scored, cut to size, and their last words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lmtui.engine.protocol import Engine
from lmtui.engine.types import Distribution, Encoding, SamplingSettings, ScoredToken
from lmtui.errors import LmtuiError
from lmtui.learn.instrument import Material

LONGEST = 256
"""Most tokens of a text that is typed into an instrument."""
_EXCERPT = 40
"""Most characters of a text that is named in a title."""


@dataclass(frozen=True, slots=True)
class Reading:
    text: str
    tokens: tuple[ScoredToken, ...]
    spans: tuple[tuple[int, int], ...]
    """Start and end of each token in code points."""

    @property
    def logprob(self) -> float:
        """Sum of the log-probabilities of all tokens that have one, in nats."""
        return sum(token.logprob or 0.0 for token in self.tokens)

    @property
    def total(self) -> float | None:
        """The same sum; None where a token after the first has no log-probability,
        since a server does not tell it."""
        if any(token.logprob is None for token in self.tokens[1:]):
            return None
        return self.logprob if self.scored else None

    @property
    def scored(self) -> int:
        """Number of tokens that have a log-probability."""
        return sum(token.logprob is not None for token in self.tokens)

    def tokens_from(self, start: int) -> Sequence[ScoredToken]:
        """Return the tokens that begin at `start`, in code points, or after it."""
        return [
            token
            for token, span in zip(self.tokens, self.spans, strict=True)
            if span[0] >= start
        ]


def encoded(engine: Engine, text: str) -> Encoding:
    """Tokenise a text for an instrument.

    Raises:
        LmtuiError: it is too long for one.
    """
    encoding = engine.encode(text)
    if len(encoding.ids) > LONGEST:
        raise LmtuiError(
            "this text is too long here",
            f"{len(encoding.ids):,} tokens",
            f"Write at most {LONGEST} tokens; `lmtui inspect` reads any length.",
        )
    return encoding


def expect(engine: Engine, text: str, *, top_n: int) -> Distribution:
    """Return the distribution of the token after a text.

    Raises:
        LmtuiError: it is empty, or too long for an instrument.
    """
    encoding = encoded(engine, text)
    return engine.next_distribution(
        (*encoding.prefix, *encoding.ids), SamplingSettings(), top_n=top_n
    )


def score(engine: Engine, text: str, *, top_n: int = 0) -> Reading:
    """Score a text as a document.

    Raises:
        LmtuiError: it is too long for an instrument.
    """
    encoding = encoded(engine, text)
    tokens = engine.score(encoding.ids, prefix=encoding.prefix, top_n=top_n)
    return Reading(text, tuple(tokens), encoding.spans)


def score_edited(engine: Engine, text: str) -> Reading:
    """Score a text that is being typed: of the one before, only what differs is run.

    Raises:
        LmtuiError: it is too long for an instrument.
    """
    encoded(engine, text)
    parts = [*engine.document.score_span(text, 0, len(text))]
    return Reading(
        text,
        tuple(token for part in parts for token in part.tokens),
        tuple(span for part in parts for span in part.spans),
    )


def last_word(text: str) -> str:
    """Return the last word of a text with the space before it; empty where it is the
    only one."""
    match = re.search(r"\s\S+$", text.rstrip())
    return match[0] if match else ""


def excerpt(text: str) -> str:
    """Return a text as it can stand in a title: its end, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _EXCERPT else f"…{line[1 - _EXCERPT :]}"


def sample_of(material: Material, given: str, number: int = 0) -> str:
    """Return the sentence that a page gives; of the learner's own text, one of that
    instead: the sentence of this number, as far as there are so many."""
    if not material.is_own:
        return given
    sentences = sentences_of(material.text)
    return sentences[number % len(sentences)] if sentences else given


def sentences_of(text: str, *, most: int = 200) -> list[str]:
    """Return the first sentences of a text that are neither very short nor long, each
    on one line."""
    found: list[str] = []
    for match in re.finditer(r"[^.!?]+[.!?]+", text[: 400 * most]):
        line = " ".join(match[0].split())
        if 20 <= len(line) <= 160:
            found.append(line)
        if len(found) == most:
            break
    return found
