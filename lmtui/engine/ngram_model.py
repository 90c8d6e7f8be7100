"""N-gram model over token ids, smoothed by interpolated Kneser-Ney.

Source: S. F. Chen and J. Goodman, "An Empirical Study of Smoothing Techniques for
Language Modeling", TR-10-98, Harvard University, 1998, section 4.1.6; the same in
Computer Speech and Language 13 (1999). `NgramModel` has the formula. Knows ids only, no
text and no tokenizer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_ROOT = 0  # the empty context, the only one of order 1
_UNSEEN = -1
_DISCOUNT = 0.5
# Where an order has no n-gram counted once, or none counted twice, as in a text of a
# few words: n1/(n1 + 2 n2) would then be 0, which leaves nothing to the lower order, or
# 1, which forgets all that was counted.


@dataclass(frozen=True, slots=True, eq=False)
class _Level:
    """N-grams of one order k and what is computed from their counts.

    A context is the index of its k-1 tokens among the n-grams of order k-1, so that all
    n-grams that continue it stand together, in the order of their tokens.
    """

    keys: Ints
    """[n] context * V + last token, ascending."""
    shares: Floats
    """[n] (c(hw) - D) / c(h)."""
    starts: Ints
    """[contexts + 1] index of the first n-gram that continues each context."""
    weights: Floats
    """[contexts] D * (number of different tokens after h) / c(h), which is the weight
    of the lower order; 1 where no token follows."""


class NgramModel:
    """Counts of n-grams as a distribution of the next token.

    With c the count of an n-gram of order k, h the k-1 tokens before the token w, h'
    the same without the first of them, and c(h) the sum of c(hw) over w:

        p_k(w | h) = (c(hw) - D_k) / c(h), or 0 where c(hw) = 0
                     + D_k * |{w: c(hw) > 0}| / c(h) * p_{k-1}(w | h')
        p_0(w)     = 1 / V
        D_k        = n1 / (n1 + 2 n2), n1 and n2 the n-grams of order k with c = 1 and 2

    In the highest order c is the number of occurrences. In a lower one it is the number
    of different tokens that stand before the n-gram in the texts, where the start of a
    text counts as one more (the continuation count). Where h was never followed by a
    token, p_k(w | h) = p_{k-1}(w | h'). A context of fewer than k-1 tokens, at the
    start of a text, uses the order that it is long enough for. Every token has p > 0.
    """

    def __init__(self, order: int, vocabulary: int, levels: Sequence[_Level]) -> None:
        self.order = order
        """Tokens of the longest n-grams: 0 for uniform, 1 for unigrams."""
        self.vocabulary = vocabulary
        """V, the number of token ids."""
        self._levels = levels
        self._no_context = np.full(vocabulary, 1 / vocabulary)
        """[V] probabilities without context, with which all others are mixed."""
        self._moments = np.array([math.log(vocabulary), math.log(vocabulary) ** 2])
        """Their `_moments`."""
        if levels:
            self._mix(levels[0], self._no_context, _ROOT)
            self._moments = _moments(self._no_context)

    @classmethod
    def count(
        cls, texts: Iterable[Sequence[int]], *, order: int, vocabulary: int
    ) -> Self:
        """Count the n-grams of the token ids of some texts, up to `order`.

        No n-gram reaches from one text into the next. Without any token, the model is
        uniform.

        Raises:
            ValueError: an id is not from 0 to `vocabulary` - 1, or `order` is negative.
        """
        if order < 0 or vocabulary < 1:
            raise ValueError(f"no model of order {order} over {vocabulary} ids")
        parts = [_ids(text, vocabulary) for text in texts]
        ids = np.concatenate([np.empty(0, np.int64), *parts])
        sizes = [np.arange(len(part), 0, -1) for part in parts]
        rooms = np.concatenate([np.empty(0, np.int64), *sizes])
        starts = np.flatnonzero(np.append(1, rooms)[:-1] == 1)
        by_order = _ngrams(ids, rooms, order, vocabulary)
        levels = []
        contexts = 1
        for ngrams, longer in zip_longest(by_order, by_order[1:]):
            counts = ngrams.counts
            if longer:
                counts = _continuation_counts(ngrams, longer, starts)
            levels.append(_smoothed(ngrams.keys, counts, contexts, vocabulary))
            contexts = len(ngrams.keys)
        return cls(order, vocabulary, levels)

    def logprobs(self, context: Sequence[int]) -> Tensor:
        """Log-probability of each token after `context`: float64 [V], in nats."""
        return torch.from_numpy(np.log(self.row(context)[0]))

    def score(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of each of `ids` after those before it: float64 [n]."""
        tokens = _ids(ids, self.vocabulary)
        probs = np.full(len(tokens), 1 / self.vocabulary)
        contexts = np.full(len(tokens), _ROOT, np.int64)
        for level in self._levels:
            ngrams = self._find(level, contexts, tokens)  # [n], those that end at each
            known, seen = contexts != _UNSEEN, ngrams != _UNSEEN
            probs[known] *= level.weights[contexts[known]]
            probs[seen] += level.shares[ngrams[seen]]
            # An n-gram is the context of the token after it.
            contexts = np.concatenate([[_UNSEEN], ngrams])[: len(tokens)]
        return torch.from_numpy(np.log(probs))

    def row(self, context: Sequence[int]) -> tuple[Floats, float, float]:
        """Probability of each token after `context`, float64 [V], their entropy in nats
        and varentropy in nats². Only the tokens that were seen after it are looked at
        for these."""
        width = self.order - 1
        end = context[max(0, len(context) - width) :] if width > 0 else ()
        last = _ids(end, self.vocabulary).tolist()
        probs, (mean, square) = self._no_context.copy(), self._moments
        for size in range(1, len(last) + 1):
            longer = self._context(last[-size:])
            if longer == _UNSEEN:  # then no longer one was seen
                break
            weight = float(self._levels[size].weights[longer])
            before, after = self._mix(self._levels[size], probs, longer)
            # Σ wp (-log wp)ⁿ = w Σ p (-log p - log w)ⁿ, but for the tokens that changed
            log = math.log(weight)
            mixed = weight * np.array([mean - log, square - 2 * log * mean + log**2])
            mean, square = mixed + _moments(after) - _moments(before)
        return probs, float(mean), max(0.0, float(square - mean**2))

    def _mix(self, level: _Level, probs: Floats, context: int) -> tuple[Floats, Floats]:
        """Turn the distribution of the order below [V] into that of a context. Return
        the probabilities of the tokens seen after it, weighted, without and with their
        shares."""
        probs *= level.weights[context]
        start, end = level.starts[context : context + 2]
        tokens = level.keys[start:end] % self.vocabulary
        before = probs[tokens]
        probs[tokens] = after = before + level.shares[start:end]
        return before, after

    def _context(self, tokens: Sequence[int]) -> int:
        """Index of some tokens as a context, or `_UNSEEN`."""
        context = np.full(1, _ROOT, np.int64)
        for level, token in zip(self._levels, tokens, strict=False):
            context = self._find(level, context, np.full(1, token, np.int64))
        return int(context[0])

    def _find(self, level: _Level, contexts: Ints, tokens: Ints) -> Ints:
        """Index of each n-gram [n] of a context and a token, or `_UNSEEN`."""
        if not len(level.keys):
            return np.full(len(contexts), _UNSEEN, np.int64)
        keys = contexts * self.vocabulary + tokens
        index = np.searchsorted(level.keys, keys)
        index[index == len(level.keys)] = 0
        seen = (level.keys[index] == keys) & (contexts != _UNSEEN)
        return np.where(seen, index, _UNSEEN)


def _ids(ids: Sequence[int], vocabulary: int) -> Ints:
    """Return ids as an array; bytes are ids, too."""
    array = np.fromiter(ids, np.int64, len(ids))
    if array.size and not 0 <= array.min() <= array.max() < vocabulary:
        raise ValueError(f"an id is not from 0 to {vocabulary - 1}")
    return array


@dataclass(frozen=True, slots=True, eq=False)
class _Ngrams:
    """N-grams of one order as they stand in the texts, which are N tokens together."""

    keys: Ints
    """[n] as in `_Level`."""
    counts: Ints
    """[n] number of occurrences."""
    first: Ints
    """[n] position where it first begins."""
    at: Ints
    """[N] index of the n-gram that begins at each position, or `_UNSEEN`."""


def _ngrams(ids: Ints, rooms: Ints, order: int, vocabulary: int) -> list[_Ngrams]:
    """Return the n-grams of each order from 1 on; `rooms` [N] is the number of tokens
    from each position to the end of its text."""
    orders: list[_Ngrams] = []
    contexts = np.full(len(ids), _ROOT, np.int64)  # [N] that begin at each position
    for size in range(1, order + 1):
        begins = np.flatnonzero(rooms >= size)
        keys, first, index, counts = np.unique(
            contexts[begins] * vocabulary + ids[begins + size - 1],
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        contexts = np.full(len(ids), _UNSEEN, np.int64)
        contexts[begins] = index
        orders.append(_Ngrams(keys, counts, begins[first], contexts))
    return orders


def _continuation_counts(ngrams: _Ngrams, longer: _Ngrams, starts: Ints) -> Ints:
    """Number of different tokens before each n-gram [n], given those of the order above
    and the positions where a text starts."""
    # An n-gram of the order above is one token before the rest of it.
    counts = np.bincount(ngrams.at[longer.first + 1], minlength=len(ngrams.keys))
    initial = ngrams.at[starts]
    counts[initial[initial != _UNSEEN]] += 1  # once, however many texts start with it
    return counts


def _smoothed(keys: Ints, counts: Ints, contexts: int, vocabulary: int) -> _Level:
    """Return one order, given its counts and the number of its contexts."""
    discount = _discount(counts)
    context = keys // vocabulary
    types = np.bincount(context, minlength=contexts)
    totals = np.bincount(context, counts, minlength=contexts)
    return _Level(
        keys=keys,
        shares=(counts - discount) / totals[context],
        starts=np.concatenate([[0], np.cumsum(types)]),
        weights=np.where(types > 0, discount * types / np.maximum(totals, 1), 1.0),
    )


def _moments(probs: Floats) -> Floats:
    """Return Σ p (-log p)ⁿ for n of 1 and 2, [2]."""
    surprisals = -np.log(probs)
    return np.array([probs.dot(surprisals), probs.dot(surprisals**2)])


def _discount(counts: Ints) -> float:
    """Absolute discount D of an order, strictly between 0 and 1."""
    once, twice = (int((counts == times).sum()) for times in (1, 2))
    return once / (once + 2 * twice) if once and twice else _DISCOUNT
