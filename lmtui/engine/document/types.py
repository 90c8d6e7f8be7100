"""Value types of `Engine`: predictions at a cursor, contexts, replacements and
corrections. Frozen, torch-free and complete, as those of `types`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lmtui.engine.types import Candidate, Distribution, ScoredToken

MOSTLY = 0.5
"""Share of a distribution that may be missing for the rest to be shown."""


@dataclass(frozen=True, slots=True)
class ScoredSpan:
    """Consecutive tokens of a text with their scores. The span begins and ends with
    whole characters."""

    tokens: tuple[ScoredToken, ...]
    """`index` counts from the first token of the text."""
    spans: tuple[tuple[int, int], ...]
    """Start and end of each token in code points; tokens that share a character share
    its span."""


@dataclass(frozen=True, slots=True)
class CursorPrediction:
    """Prediction of the text at a cursor."""

    distribution: Distribution | None
    """Rows are continuations: the bytes beyond the cursor, whichever tokens produce
    them, with their probability given all typed text. None where no text precedes the
    cursor."""
    typed: str
    """Typed part of the piece (pre-tokenizer word) at the cursor, with the space before
    it: for example " Fran"."""
    unexplored: float
    """Share of the probability of `typed` whose continuations were not searched."""
    following: Candidate | None
    """The row that matches the text after the cursor; None at the end of the text, and
    where there is no distribution."""
    read: ScoredSpan | None
    """Tokens before the cursor whose scores were computed along the way."""

    @property
    def is_mostly_unlisted(self) -> bool:
        """Whether the rows say little, since a server does not list most of what could
        come here."""
        shown = self.distribution
        return (
            shown is not None
            and shown.top_logprobs is not None
            and self.unexplored > MOSTLY
        )


@dataclass(frozen=True, slots=True)
class ContextFile:
    """Another file that is read before a text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class ContextPart:
    """How much of such a file is read."""

    name: str
    tokens: int
    """Tokens that are read, from its beginning."""
    total: int
    """Tokens of all of it."""


@dataclass(frozen=True, slots=True)
class CursorContext:
    """Tokens before a cursor, up to the piece (pre-tokenizer word) that it is in or
    behind."""

    prefix: tuple[int, ...]
    """Ids that begin every text: BOS, or none."""
    before: tuple[int, ...]
    """Tokens of the window before the piece."""
    typed: bytes
    """Bytes of the piece before the cursor; empty where the piece has no context."""
    start: int
    """Where the piece begins, as an offset in code points."""


@dataclass(frozen=True, slots=True)
class CompletionContext:
    """Context that the model reads before it continues a text."""

    ids: tuple[int, ...]
    """All tokens before the piece at the cursor; where `infilled`, also those of the
    text after the cursor."""
    typed: bytes
    """Bytes of the typed part of that piece; the continuation has to begin with
    them."""
    infilled: bool = False
    """Whether `ids` include the text after the cursor."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Text that could replace a part of a document."""

    text: str
    logprob: float
    """Natural log of its probability given the text before it."""
    ahead: str
    """Text that the model would write after it; empty where it would go on with the
    word."""
    following: float | None
    """Natural log of the probability of the text that follows, up to 64 tokens of it,
    given the text with the replacement; None where nothing follows."""
    is_scored: bool = True
    """Whether what follows is scored; not yet for an early row of a partial list."""

    @property
    def total(self) -> float:
        """Natural log of the probability of the replacement and of what follows."""
        return self.logprob + (self.following or 0.0)


@dataclass(frozen=True, slots=True)
class ReplacementList:
    """The replacements that are known so far."""

    rows: tuple[Replacement, ...]
    """The most probable together with what follows first; those that are not scored
    with that come last. `ahead` is known in the complete list only."""
    done: int
    """How many scores of candidates are computed; some are scored more than once."""
    total: int
    """How many there will be, as far as is known; `done` where the list is complete."""

    @property
    def is_complete(self) -> bool:
        return self.done == self.total


@dataclass(frozen=True, slots=True)
class Correction:
    """Change of a text that makes it more probable by more than chance does."""

    start: int
    """Start of the replaced part, in code points."""
    end: int
    text: str
    """Text in its place; empty for a doubled word."""
    kind: str
    """Kind of the slip: one of `typos.EditKind`."""
    gain: float
    """By how many nats the log P of the word and of the tokens that follow rises."""
    is_sure: bool = False
    """Whether it may be applied without having been looked at."""


@dataclass(frozen=True, slots=True)
class ProofreadPart:
    """Part of a text that was proofread."""

    end: int
    """Where it ends, in code points; what comes next can be read from there."""
    corrections: tuple[Correction, ...]
    """In the order of the text."""


def corrected(text: str, corrections: Iterable[Correction]) -> str:
    """Return a text with corrections that do not overlap."""
    for each in sorted(corrections, key=lambda each: each.start, reverse=True):
        text = text[: each.start] + each.text + text[each.end :]
    return text
