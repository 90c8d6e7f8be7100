"""The verdict on a training: the held-out and the neutral loss, before and after.

The held-out documents decide; the neutral text shows forgetting. Imports no torch and
computes no scores.
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
"""With this many held-out documents or more, the bootstrap gives the interval."""
_RESAMPLES = 2_000
_TAIL = 0.025  # on each side: an interval of 95 %
_FEW = 0.005  # share of the loss that must change where documents are too few
_UNCHANGED = 0.01  # share of the neutral loss up to which it is unchanged
_SLIGHT = 0.05  # share of the neutral loss up to which it is slightly worse

WORD_FOR_WORD = 24
"""Tokens in a row that count as memorised; shorter runs are often common phrases."""

PRIVACY = (
    "Your notes stayed on this machine. An adapter can repeat what it learned word "
    "for word: give it only to those you would give the notes."
)


@dataclass(frozen=True, slots=True)
class TokenChange:
    """A token of a held-out document whose probability changed."""

    path: str
    before_it: str
    """The text before the token."""
    text: str
    bits_before: float
    bits_after: float


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A held-out document's mean losses, in nats a token."""

    path: str
    tokens: int
    loss_before: float
    loss_after: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of a training: on the notes and on other text."""

    notes: Direction
    """The change on the held-out documents."""
    elsewhere: Elsewhere
    """The change on the neutral text."""
    sentence: str
    because: str
    """The rule that decided, with its numbers."""


def judge(
    before: Sequence[DocumentScore],
    after: Sequence[DocumentScore],
    neutral_before: LossTotals | None,
    neutral_after: LossTotals | None,
) -> Verdict:
    notes, because = _judge_notes(before, after)
    elsewhere = _judge_neutral(neutral_before, neutral_after)
    documents = sum(score.tokens > 0 for score in before)
    return Verdict(notes, elsewhere, _sentence(notes, elsewhere, documents), because)


def document_changes(
    before: Sequence[DocumentScore], after: Sequence[DocumentScore]
) -> list[DocumentChange]:
    """Return the change of each document that counts, the largest gain first."""
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
    """Return a 95 % interval for the change of the mean loss.

    The percentile bootstrap over documents (Efron, "Bootstrap methods", 1979). Tokens
    of one document are not independent, so whole documents are drawn, with replacement.
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


def _sentence(notes: Direction, elsewhere: Elsewhere, documents: int) -> str:
    many = f"{documents:,} held-out documents"
    judged = f"the {'one held-out document' if documents == 1 else many}"
    if notes == "worse":
        return f"Worse on {judged}: do not use."
    rest = "" if elsewhere == "unknown" else f", {elsewhere} elsewhere"
    if notes == "unknown":
        if elsewhere == "unknown":
            return "Nothing was held out, so nothing can be said about your notes."
        return f"Nothing was held out to evaluate on{rest}."
    if notes == "unclear":
        return f"No clear change on {judged}{rest}."
    return f"Better on {judged}{rest}."


def _count(documents: int) -> str:
    return "one document" if documents == 1 else f"only {documents} documents"
