"""Before and after: whether a training was worth it, by rule and not by mood.

Owns the margins and the sentences. Pure; imports no torch and computes no score. The
held-out documents decide; a neutral text tells what was forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lmtui.notation import loss_difference
from lmtui.train.metrics import DocumentScore, LossTotals, together

Direction = Literal["better", "worse", "unclear", "unknown"]
Elsewhere = Literal["unchanged", "better", "slightly worse", "clearly worse", "unknown"]

ENOUGH = 5
"""From so many held-out documents on their own spread says what chance could do."""
_RESAMPLES = 2_000
_TAIL = 0.025  # on each side: an interval of 95 %
_FEW = 0.005  # share of the loss that has to change where documents are too few
_UNCHANGED = 0.01  # share of the neutral text's loss that is called no change
_SLIGHT = 0.05  # the share up to which it is called a slight one

WORD_FOR_WORD = 24
"""Tokens in a row; shorter runs are common phrases as often as not."""

PRIVACY = (
    "Your notes stayed on this machine. An adapter can repeat what it learned word "
    "for word: give it only to those you would give the notes."
)


@dataclass(frozen=True, slots=True)
class Memorized:
    """The longest run of training text that came back word for word."""

    tokens: int
    characters: int
    path: str
    """The document whose beginning was given."""
    text: str


@dataclass(frozen=True, slots=True)
class TokenChange:
    """A token of a held-out document that became more, or less, probable."""

    path: str
    before_it: str
    """The text it follows."""
    text: str
    bits_before: float
    bits_after: float


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A held-out document and its mean losses, in nats a token."""

    path: str
    tokens: int
    loss_before: float
    loss_after: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the model."""

    notes: Direction
    """On the held-out documents."""
    elsewhere: Elsewhere
    """On the neutral text."""
    sentence: str
    because: str
    """The rule that decided, with its numbers."""


def judge(
    before: Sequence[DocumentScore],
    after: Sequence[DocumentScore],
    neutral_before: LossTotals | None,
    neutral_after: LossTotals | None,
) -> Verdict:
    """Compare the same documents before and after a training."""
    notes, because = _judge_notes(before, after)
    elsewhere = _judge_neutral(neutral_before, neutral_after)
    return Verdict(notes, elsewhere, _sentence(notes, elsewhere), because)


def document_changes(
    before: Sequence[DocumentScore], after: Sequence[DocumentScore]
) -> list[DocumentChange]:
    """Every document that counts, the one that gained most first."""
    changes = [
        DocumentChange(a.path, a.tokens, a.loss, b.loss)
        for a, b in zip(before, after, strict=True)
        if a.tokens
    ]
    return sorted(changes, key=lambda c: (c.loss_after - c.loss_before, c.path))


def _judge_notes(
    before: Sequence[DocumentScore], after: Sequence[DocumentScore]
) -> tuple[Direction, str]:
    first, last = together(before), together(after)
    if first is None or last is None:
        return (
            "unknown",
            "No document was held out, so nothing can be said about your notes.",
        )
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a.tokens]
    change = last.loss - first.loss
    if len(pairs) < ENOUGH:
        margin = _FEW * first.loss
        because = (
            f"The held-out loss changed by {loss_difference(change)} nats a token; "
            f"with {_count(len(pairs))} less than {margin:.4f} is called no change."
        )
        return _named(change - margin, change + margin), because
    low, high = _interval(pairs)
    because = (
        f"The held-out loss changed by {loss_difference(change)} nats a token; the "
        f"bootstrap over {len(pairs)} documents puts it between {loss_difference(low)} "
        f"and {loss_difference(high)} in 95 of 100 cases."
    )
    return _named(low, high), because


def _named(low: float, high: float) -> Direction:
    if high < 0:
        return "better"
    return "worse" if low > 0 else "unclear"


def _interval(
    pairs: Sequence[tuple[DocumentScore, DocumentScore]],
) -> tuple[float, float]:
    """The change of the mean loss, documents being drawn with replacement.

    The percentile bootstrap over documents (Efron, "Bootstrap methods", 1979): tokens
    of one document are no independent draws, so documents are what is drawn.
    """
    chance = random.Random(0)
    sums = [(b.nll - a.nll, a.tokens) for a, b in pairs]
    changes = []
    for _ in range(_RESAMPLES):
        drawn = chance.choices(sums, k=len(sums))
        tokens = sum(count for _, count in drawn)
        changes.append(sum(nll for nll, _ in drawn) / tokens)
    changes.sort()
    edge = int(_TAIL * _RESAMPLES)
    return changes[edge], changes[-1 - edge]


def _judge_neutral(before: LossTotals | None, after: LossTotals | None) -> Elsewhere:
    if before is None or after is None:
        return "unknown"
    share = (after.loss - before.loss) / before.loss
    if abs(share) <= _UNCHANGED:
        return "unchanged"
    if share < 0:
        return "better"
    return "slightly worse" if share <= _SLIGHT else "clearly worse"


def _sentence(notes: Direction, elsewhere: Elsewhere) -> str:
    if notes == "worse":
        return "Worse on your notes: do not use."
    rest = "" if elsewhere == "unknown" else f", {elsewhere} elsewhere"
    if notes == "unknown":
        if elsewhere == "unknown":
            return "Nothing was held out, so nothing can be said about your notes."
        return f"Nothing was held out to evaluate on{rest}."
    if notes == "unclear":
        return f"No clear change on your notes{rest}."
    return f"Better on your notes{rest}."


def _count(documents: int) -> str:
    return "one document" if documents == 1 else f"only {documents} documents"
