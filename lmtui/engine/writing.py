"""The values of a text that somebody is writing.

Frozen, torch-free and complete, like those in `types`. Places in a text are code
points from its beginning. A half-typed word is healed: what is expected at a cursor
continues the bytes that were typed since the last boundary of a piece, whatever
tokens they turn out to be part of.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmtui.engine.types import Candidate, Distribution, ScoredToken


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive tokens of a text, with what the model thought of each. It begins and
    ends with whole characters."""

    tokens: tuple[ScoredToken, ...]
    """Their `index` counts from the first token of the text."""
    spans: tuple[tuple[int, int], ...]
    """Start and end of each; tokens that share a character share its span."""


@dataclass(frozen=True, slots=True)
class Following:
    """The row that says what already follows the cursor."""

    candidate: Candidate
    rank: int
    """1 + the number of rows that are strictly more probable."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the model expects at a cursor."""

    distribution: Distribution | None
    """Its rows are continuations: the bytes beyond the cursor, whichever tokens bring
    them, and the probability of each given all that is typed. None where there is
    nothing before the cursor that the model could read."""
    typed: str
    """The beginning of the piece that the cursor is in or behind, such as ` Fran`."""
    typed_logprob: float | None
    """Natural log of the probability that the piece begins so; None without context."""
    unexplored: float
    """Share of that probability whose continuations were not looked at."""
    following: Following | None
    """None at the end of the text, and where nothing is expected."""
    read: Stretch | None
    """The tokens up to the cursor whose numbers became known by looking."""
    tokens: int
    """How many tokens the whole text has."""
    window: tuple[int, int]
    """The first token that the model read for this, and the first it did not."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a model reads before it goes on with a text."""

    ids: tuple[int, ...]
    """All tokens up to the piece that the cursor is in or behind, with what follows
    the cursor among them where `infilled`."""
    typed: bytes
    """The beginning of that piece: the continuation begins with it, too."""
    infilled: bool = False
    """Whether what follows the cursor is read."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Something that could stand in place of a part of a text."""

    text: str
    logprob: float
    """Natural log of its probability given what stands before it."""
    ahead: str
    """How the model would go on after it."""
    change: float | None
    """By how many bits what follows in the text is less probable (positive) or more
    (negative) after this than after what stands there; None where nothing follows."""
