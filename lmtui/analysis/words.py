"""Probability of each word of a text, from the scores of its tokens.

A word is what stands between white space (space, tab, newline; in ASCII), punctuation
included. That it ends is part of it, and told only by the token after it: Pimentel and
Meister, "How to Compute the Probability of a Word", EMNLP 2024; Oh and Schuler,
"Leading Whitespaces of Language Models' Subword Vocabulary Pose a Confound for
Calculating Word Probabilities", EMNLP 2024. Pure; knows no engine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lmtui.analysis.summary import Span
from lmtui.engine.types import ScoredToken
from lmtui.notation import bits
from lmtui.partial import exact_entropy

_BETWEEN_SPACE = re.compile(r"\S(?:.*\S)?", re.ASCII | re.DOTALL)
_SENTENCE_END = re.compile(
    r"[.!?…。！？][\"'”’»)\]]*\s*\Z"  # a sign, and what closes
    r"|\n\s*\n\s*\Z"  # an empty line
)


@dataclass(frozen=True, slots=True)
class Word:
    """A word with the numbers of its tokens, which hold the white space before it, too;
    None where a token has no context, and so no probability."""

    word: str
    sentence: int
    """Number of its sentence, from 1."""
    start: int
    """Offset in code points."""
    end: int
    tokens: int
    surprisal: float | None
    """That of `logprob`, in bits."""
    logprob: float | None
    """`naive_logprob`, and that the word ends after its last token, given that the word
    before it ended; in nats."""
    naive_logprob: float | None
    """Sum of the logprobs of its tokens."""
    entropy: float | None
    """Entropy of its first token's distribution, in nats."""


def words_of(
    text: str, tokens: Iterable[tuple[ScoredToken, Span | None]]
) -> Iterator[Word]:
    """Yield the words of a text.

    `tokens` have their `word_end`, and are followed by one without a span, which stands
    for what would come after the text.
    """
    part: list[tuple[ScoredToken, Span]] = []  # white space, and a word
    sentence = last = 0  # the last word's offset
    # log P that a word ends before `part`: 0 at the beginning of a text and behind
    # white space, where every token begins a word.
    before = 0.0
    has_word = is_certain = False
    for token, span in tokens:
        opens = span is None or token.is_control or token.bytes[:1].isspace()
        if has_word and (opens or is_certain):
            after = 0.0 if is_certain else token.word_end
            assert after is not None  # there are tokens before it
            start, end = part[0][1][0], part[-1][1][1]
            if match := _BETWEEN_SPACE.search(text, start, end):
                start, end = match.span()
            sentence += not sentence or bool(_SENTENCE_END.search(text, last, start))
            yield _word(part, text[start:end], sentence, (start, end), after - before)
            part, before, last, has_word = [], after, start, False
        if span is None:
            return
        part.append((token, span))
        has_word |= not (token.is_control or token.bytes.isspace())
        is_certain = token.is_control or token.bytes[-1:].isspace()


def _word(
    part: Sequence[tuple[ScoredToken, Span]],
    word: str,
    sentence: int,
    span: Span,
    correction: float,
) -> Word:
    logprobs = [token.logprob for token, _ in part if token.logprob is not None]
    naive = math.fsum(logprobs) if len(logprobs) == len(part) else None
    logprob = None if naive is None else naive + correction
    return Word(
        word,
        sentence,
        *span,
        tokens=len(part),
        surprisal=None if logprob is None else bits(logprob),
        logprob=logprob,
        naive_logprob=naive,
        entropy=exact_entropy(part[0][0].entropy),
    )
