"""Totals over the scored tokens of a text, in eight bytes for each.

Totals of several texts can be merged; means are then over all their tokens. Pure; knows
no engine and no output.
"""

from __future__ import annotations

import heapq
import math
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lmtui import notation
from lmtui.engine.scoring.totals import bits_per, mean_nll, perplexity, typicality
from lmtui.engine.types import EngineInfo, ScoredToken
from lmtui.engine.windows import Windows
from lmtui.models.source import short_labels
from lmtui.partial import RankAbove, exact_entropy

Span = tuple[int, int]

RANKS = (1, 10, 100, 1000)
"""The last rank of each bin except the open one."""
WITHIN = (1, 5, 10)
"""The values of k for accuracy at k."""
LEAST_KNOWN = 50
"""Scored tokens from which on a text may look known by heart."""
ENTROPY_BINS = 12
"""Bins of one bit each; the last one is open."""


def rank_bin(rank: int) -> int:
    return bisect_left(RANKS, rank)


def entropy_bin(entropy: float) -> int:
    """Return the index of the bin of an entropy in nats."""
    return min(int(notation.bits(-entropy)), ENTROPY_BINS - 1)


@dataclass(slots=True)
class Totals:
    """Running sums over scored tokens, in float64.

    A first token without context has no distribution: it counts in `tokens`, not in
    `scored`, and nowhere else. Bits per byte and per character are taken over the
    scored text. Where scored and unscored tokens share a character, its scored bytes
    count, but not the character.
    """

    limit: int = 0
    """How many of the most surprising tokens to keep."""
    tokens: int = 0
    scored: int = 0
    characters: int = 0
    """Characters of the scored text, once `measure` was called; `bytes` and
    `zlib_bytes` likewise."""
    bytes: int = 0
    zlib_bytes: int = 0
    """What zlib compresses these bytes to."""
    ranks: list[int] = field(default_factory=lambda: [0] * (len(RANKS) + 1))
    """Tokens in each bin of `rank_bin`."""
    unlisted: int = 0
    """Tokens that a server did not list, whose rank is not known."""
    listed: float = math.inf
    """The fewest tokens that a server listed where one is not among them."""
    within: list[int] = field(default_factory=lambda: [0] * len(WITHIN))
    """Tokens of rank k or better, for each k of `WITHIN`."""
    entropies: list[int] = field(default_factory=lambda: [0] * ENTROPY_BINS)
    """Tokens in each bin of `entropy_bin`."""
    _sum: float = 0.0
    _logprobs: array[float] = field(default_factory=lambda: array("f"))
    _typicalities: array[float] = field(default_factory=lambda: array("f"))
    _unscored: list[ScoredToken] = field(default_factory=list)
    _worst: list[tuple[float, int, ScoredToken, Span]] = field(default_factory=list)

    def add(self, token: ScoredToken, span: Span = (0, 0)) -> None:
        self.tokens += 1
        if token.logprob is None:
            self._unscored.append(token)
            return
        self.scored += 1
        self._sum += token.logprob
        self._logprobs.append(token.logprob)
        if (z := typicality(token)) is not None:
            self._typicalities.append(z)
        if isinstance(token.rank, RankAbove):
            self.unlisted += 1
            self.listed = min(self.listed, token.rank.listed)
        elif token.rank is not None:
            self.ranks[rank_bin(token.rank)] += 1
            for index, k in enumerate(WITHIN):
                self.within[index] += token.rank <= k
        if (entropy := exact_entropy(token.entropy)) is not None:
            self.entropies[entropy_bin(entropy)] += 1
        if self.limit:
            self._remember((-token.logprob, -token.index, token, span))

    def _remember(self, item: tuple[float, int, ScoredToken, Span]) -> None:
        if len(self._worst) < self.limit:
            heapq.heappush(self._worst, item)
        else:
            heapq.heappushpop(self._worst, item)

    def measure(self, text: str, spans: Sequence[Span]) -> None:
        """Count the characters and bytes of the scored part of `text`.

        `spans` are those of all its tokens.
        """
        self.characters, self.bytes = scored_size(text, spans, self._unscored)
        self.compress(text, self.bytes)

    def compress(self, text: str, size: int) -> None:
        """Count what zlib compresses the last `size` bytes of `text` to, which are the
        scored ones."""
        data = text.encode("utf-8", "surrogatepass")
        self.zlib_bytes = len(zlib.compress(data[len(data) - size :]))

    def merge(self, other: Totals) -> None:
        """Add the totals of another text, without its most surprising tokens."""
        for name in ("tokens", "scored", "characters", "bytes", "zlib_bytes",
                     "unlisted", "_sum", "_logprobs", "_typicalities"):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ranks[:] = map(int.__add__, self.ranks, other.ranks)
        self.entropies[:] = map(int.__add__, self.entropies, other.entropies)
        self.within[:] = map(int.__add__, self.within, other.within)
        self.listed = min(self.listed, other.listed)

    @property
    def has_ranges_only(self) -> bool:
        """Whether tokens were scored, and the entropy of none is known."""
        return self.scored > 0 and not any(self.entropies)

    def accuracy(self, k: int) -> float | None:
        """Return the share of tokens of rank `k` or better; equal logits share a rank.
        None where a server listed fewer than `k` tokens: one that it did not list could
        be either, and to leave it out would keep the hits only."""
        ranked = sum(self.ranks) + self.unlisted
        if not ranked or k > self.listed:
            return None
        return self.within[WITHIN.index(k)] / ranked

    @property
    def logprob(self) -> float | None:
        """Sum of the scored tokens' logprobs, in nats."""
        return self._sum if self.scored else None

    @property
    def mean_nll(self) -> float | None:
        """Mean negative logprob of a scored token, in nats."""
        return mean_nll(self._sum, self.scored)

    @property
    def perplexity(self) -> float | None:
        """exp of `mean_nll`; None also where it is too large for a float."""
        return perplexity(self.mean_nll)

    @property
    def bits_per_byte(self) -> float | None:
        return bits_per(self.logprob, self.bytes)

    @property
    def bits_per_character(self) -> float | None:
        return bits_per(self.logprob, self.characters)

    @property
    def min_k(self) -> float | None:
        """Min-K%: mean logprob of the fifth of the tokens that are least probable, in
        nats."""
        return _mean_of_lowest(self._logprobs)

    @property
    def min_k_plus_plus(self) -> float | None:
        """Min-K%++: mean of the lowest fifth of `typicality`; None where a server lists
        only some tokens."""
        return _mean_of_lowest(self._typicalities)

    @property
    def bits_per_zlib_bit(self) -> float | None:
        """Surprisal over the size of the text as zlib compresses it."""
        return bits_per(self.logprob, 8 * self.zlib_bytes)

    def worst(self) -> list[tuple[ScoredToken, Span]]:
        return [(token, span) for _, _, token, span in sorted(self._worst)[::-1]]


@dataclass(frozen=True, slots=True)
class Summary:
    info: EngineInfo
    totals: Totals
    windows: Windows
    bos: bool
    before: int = 0
    """Number of context tokens, which are not scored; 0 for a file, BOS not counted."""
    stored: bool | None = None
    """Whether the ids are those that the text was written with; None for a file."""
    rewritten: int = 0
    """Characters of the text that this model's tokenizer composes, replaces or
    drops."""


def model_names(info: EngineInfo) -> dict[str, Any]:
    return {
        "model": info.model,
        **({"adapter": info.adapter} if info.adapter else {}),
    }


def model_fields(info: EngineInfo) -> dict[str, Any]:
    """Return the fields that say which model computed something, and how."""
    return {**model_names(info), "precision": info.precision, "dtype": info.dtype}


def summary_fields(summary: Summary) -> dict[str, Any]:
    totals = summary.totals
    return {
        **model_fields(summary.info),
        "tokens": totals.tokens,
        "scored": totals.scored,
        "logprob": totals.logprob,
        "mean_nll": totals.mean_nll,
        "perplexity": totals.perplexity,
        "bits_per_byte": totals.bits_per_byte,
        "window": summary.windows.window,
        "stride": summary.windows.stride,
        "bos": summary.bos,
        **({"rewritten": summary.rewritten} if summary.rewritten else {}),
        "bits_per_character": totals.bits_per_character,
        "min_k": totals.min_k,
        "min_k_plus_plus": totals.min_k_plus_plus,
        "bits_per_zlib_bit": totals.bits_per_zlib_bit,
        "characters": totals.characters,
        "bytes": totals.bytes,
        **_counts(totals),
        **_context_fields(summary),
    }


def _context_fields(summary: Summary) -> dict[str, Any]:
    if summary.stored is None:
        return {}
    ids = "kept" if summary.stored else "retokenised"
    return {"before": summary.before, "ids": ids}


def _counts(totals: Totals) -> dict[str, Any]:
    return {
        "ranks": dict(zip((*map(str, RANKS), "rest"), totals.ranks, strict=True)),
        **({"unlisted": totals.unlisted} if totals.unlisted else {}),
        # A server that lists some tokens tells a range of each entropy.
        "entropy_bits": None if totals.has_ranges_only else list(totals.entropies),
        "accuracy": {str(k): totals.accuracy(k) for k in WITHIN},
    }


def figures(totals: Totals) -> dict[str, str]:
    """Return formatted totals by label, for the command line and the HTML page."""
    return {
        notation.TOKENS.short: notation.count(totals.tokens),
        notation.SCORED.short: notation.count(totals.scored),
        notation.LOG_PROB.full: notation.log_prob(totals.logprob),
        notation.SURPRISAL.full: notation.surprisal(totals.logprob),
        notation.PERPLEXITY.full: notation.perplexity(totals.perplexity),
        notation.PER_BYTE.full: notation.rate(totals.bits_per_byte),
        notation.PER_CHARACTER.full: notation.rate(totals.bits_per_character),
        "Min-K%, nats": notation.number(totals.min_k),
        "Min-K%++": notation.number(totals.min_k_plus_plus),
        "bits/zlib bit": notation.rate(totals.bits_per_zlib_bit),
        "right at once": notation.percent(totals.accuracy(1)),
        "in the first 5": notation.percent(totals.accuracy(5)),
        "in the first 10": notation.percent(totals.accuracy(10)),
    }


def known_by_heart(totals: Totals) -> str:
    """Return the numbers that hint at a text the model was trained on, in a sentence
    with what they can't show; "" for a text that is too short to hint at anything."""
    if totals.scored < LEAST_KNOWN:
        return ""
    known = figures(totals)
    return (
        f"Min-K% {known['Min-K%, nats']} nats, Min-K%++ {known['Min-K%++']}, "
        f"{known['bits/zlib bit']} bits a zlib bit: a hint beside similar "
        "texts, no proof: common phrases look known"
    )


def _mean_of_lowest(values: Sequence[float]) -> float | None:
    """Return the mean of the lowest fifth, rounded down, but one at the least."""
    lowest = sorted(values)[: max(1, len(values) // 5)]
    return math.fsum(lowest) / len(lowest) if lowest else None


def scored_size(
    text: str, spans: Sequence[Span], unscored: Sequence[ScoredToken]
) -> tuple[int, int]:
    """Return the characters and UTF-8 bytes of a text after its unscored first tokens.

    Where the next token shares the last character of the unscored ones, the bytes of
    the unscored tokens are subtracted instead of those of their text.
    """
    characters, size = len(text), len(text.encode("utf-8"))
    if not unscored:
        return characters, size
    count = len(unscored)
    end = spans[count - 1][1]
    shares = len(spans) > count and spans[count][0] < end
    own = sum(len(token.bytes) for token in unscored)
    return characters - end, size - (own if shares else len(text[:end].encode("utf-8")))


def page_fields(*summaries: Summary) -> list[dict[str, Any]]:
    """Return the fields of the summaries of one text for the HTML page, with their
    figures as text."""
    # A page is shared: a path in a label would be, too.
    labels = short_labels(*(summary.info.model for summary in summaries))
    return [
        {
            **summary_fields(each),
            "model": label,
            "figures": figures(each.totals),
            "known_by_heart": known_by_heart(each.totals),
        }
        for each, label in zip(summaries, labels, strict=True)
    ]
