"""A gap in a text, and words in it: each is scored with the text that follows.

A word is put into the gap, the text is tokenised anew from the piece before it on, and
its tokens are teacher-forced after the context. Words that are put into the same gap
can be compared, since everything else is the same. Knows no screen and no candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from lmtui.engine.document.completion import CompletionModel
from lmtui.engine.scoring.path_scores import score_paths
from lmtui.engine.softmax import log_softmax
from lmtui.errors import LmtuiError

FOLLOWING = 64
"""Most tokens scored after a word; later ones hardly differ."""
LONGEST = 8
"""Most tokens of a word."""

_CHARACTERS = 8  # upper bound of the average code points of a token
_LEAD = 64  # most code points before a piece that are tokenised with it


@dataclass(frozen=True, slots=True)
class Infilled:
    """A word in a gap, as tokens."""

    text: str
    ids: tuple[int, ...]
    """Tokens of the piece before the gap, of the word, and of the text that follows."""
    own: int
    """How many of them begin in the piece or the word."""


@dataclass(frozen=True, slots=True)
class FillingScore:
    """Sums of logprobs of a filling."""

    own: float
    """Of the word, with the part of its piece before the gap."""
    following: float
    """Of the tokens that follow, as many as were asked for."""
    count: int
    """Number of those tokens."""
    next: Tensor
    """Logprobs [V] of the token after those."""

    @property
    def total(self) -> float:
        """Natural log of the probability of the word and of what follows."""
        return self.own + self.following


class SpanScorer:
    """Gap from `start` to `end` of a text, in which words are scored."""

    def __init__(
        self,
        model: CompletionModel,
        text: str,
        span: tuple[int, int],
    ) -> None:
        """Find the context of a gap, without running the model.

        Raises:
            LmtuiError: there is no text before the gap.
        """
        start, end = span
        # No infill: the text that follows is scored, so it must not be in the context.
        alone = replace(model.planner, infill=None)
        context = model.reader.context_at(text, start)
        read = alone.completion_context(context, lambda _: (), FOLLOWING + LONGEST)
        self._model = model
        self.context = read.ids
        """Ids that the model reads before the piece at the gap."""
        self.typed = read.typed
        """Bytes of that piece before the gap."""
        least = max(0, context.start - _LEAD)
        space = text.rfind(" ", least, context.start)
        self._lead = text[max(least, space) : start]  # with the piece before the gap
        self._piece = context.start - start  # where that begins, from the gap on
        self.following = self._following(text, end)
        """Text after the gap that is scored."""

    def _following(self, text: str, end: int) -> str:
        room = self._model.context - len(self.context) - LONGEST * _CHARACTERS
        most = max(0, min(FOLLOWING, room))
        last = min(len(text), end + FOLLOWING * _CHARACTERS)
        spans = self._model.reader.part(text, end, last).spans[:most]
        return text[end : spans[-1][1]] if spans else ""

    def fill(self, word: str) -> Infilled:
        """Return the tokens of the text with `word` in the gap."""
        text = self._lead + word + self.following
        read = self._model.reader.part(text, 0, len(text))
        starts = [start - len(self._lead) for start, _ in read.spans]
        first = sum(start < self._piece for start in starts)
        own = sum(start < len(word) for start in starts[first:])
        return Infilled(word, tuple(read.ids[first:]), own)

    def read(self) -> Tensor:
        """Read the context; return the logprobs [V] of the token after it."""
        cache = self._model.cache
        cache.read(self.context)
        assert cache.logits is not None
        return log_softmax(cache.logits)

    def scores(
        self, fillings: Sequence[Infilled], *, following: int = FOLLOWING
    ) -> Iterator[list[FillingScore]]:
        """Yield the scores of fillings with up to so many tokens that follow, in order,
        some at a time.
        """
        cache, done = self._model.cache, 0
        cache.read(self.context)
        paths = [filling.ids[: filling.own + following] for filling in fillings]
        for some in score_paths(cache, paths):
            part = fillings[done : done + len(some)]
            done += len(some)
            yield [
                FillingScore(
                    math.fsum(score.logprobs[: filling.own]),
                    math.fsum(score.logprobs[filling.own :]),
                    len(score.logprobs) - filling.own,
                    score.after,
                )
                for filling, score in zip(part, some, strict=True)
            ]


def span_scorer_at(
    model: CompletionModel, text: str, span: tuple[int, int]
) -> SpanScorer | None:
    """Return the gap at a span of a text; None where no text is before it."""
    try:
        return SpanScorer(model, text, span)
    except LmtuiError:
        return None
