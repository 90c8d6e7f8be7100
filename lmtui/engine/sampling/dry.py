"""DRY ("don't repeat yourself"): a penalty for going on with a repeated passage.

By p-e-w (2024, text-generation-webui#5677), with the limits of llama.cpp. Where the end
of the context has occurred before, the token that followed there is weakened by
multiplier · base ^ (length - allowed length).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lmtui.engine.sampling.penalties import biased
from lmtui.engine.sampling.ranks import to_device
from lmtui.engine.token_ids import Ids

_ONE_BY_ONE = 8  # lengths that are compared one at a time
_LARGEST_LOG = 88.7228391  # log of the greatest float32


@dataclass(frozen=True, slots=True)
class DrySettings:
    """Settings of DRY, with the breakers as bytes and tokens."""

    multiplier: float
    base: float
    allowed_length: int
    breakers: tuple[bytes, ...] = ()
    """Texts that end a passage."""
    breaker_ids: frozenset[int] = frozenset()
    """Tokens that contain such a text."""
    control_ids: frozenset[int] = frozenset()
    """Tokens that are never weakened: an answer that was given before can end."""

    @property
    def longest(self) -> int:
        """Length from which on the penalty grows no more: it would overflow."""
        if self.base <= 1.000001:
            return self.allowed_length
        return self.allowed_length + int(_LARGEST_LOG / math.log(self.base))

    def penalty(self, length: int) -> float:
        """Return what is subtracted for a repeated passage of `length` tokens."""
        beyond = min(length, self.longest) - self.allowed_length
        return float(self.multiplier * self.base**beyond)


@dataclass(frozen=True, slots=True)
class RepeatedPassage:
    """Passage at the end of the context that occurred before, and how it went on."""

    start: int
    """Index in the context where it began before."""
    length: int
    """Number of its tokens."""
    token: int
    """Token that followed it there."""


def repeated_passages(
    context: Ids, settings: DrySettings, spell: Callable[[int], bytes]
) -> Mapping[int, RepeatedPassage]:
    """Return, for each token that followed an earlier occurrence of the end of
    `context` [n], the longest of these passages: of at least `allowed_length` tokens,
    without a breaker. `spell` returns the bytes of a token."""
    reversed_ids = context[::-1]
    # Distances from the end of the context at which an occurrence of its end ends.
    ends = np.flatnonzero(reversed_ids[1:] == reversed_ids[:1]) + 1
    lengths = _common_lengths(reversed_ids, ends, settings.longest)
    most = int(lengths.max(initial=0))
    if most < settings.allowed_length:
        return {}
    limit = _length_without_breaker(context, most, settings, spell)
    lengths = np.minimum(lengths, limit)
    by_token: dict[int, RepeatedPassage] = {}
    for end, length in zip(ends.tolist(), lengths.tolist(), strict=True):
        token = int(reversed_ids[end - 1])
        before = by_token.get(token)
        if length < settings.allowed_length or token in settings.breaker_ids:
            continue
        if token in settings.control_ids:
            continue
        if before is None or before.length < length:
            start = len(context) - end - length
            by_token[token] = RepeatedPassage(start, length, token)
    return by_token


def _common_lengths(reversed_ids: Ids, ends: Ids, longest: int) -> Ids:
    """Return how many tokens, at most `longest`, are the same before each of `ends` [m]
    and at the end of the context."""
    lengths = np.ones(len(ends), dtype=np.int64)
    going = np.arange(len(ends))
    # 1) token by token: most occurrences are short
    for length in range(1, min(longest, _ONE_BY_ONE)):
        going = going[ends[going] + length < len(reversed_ids)]
        same = reversed_ids[ends[going] + length] == reversed_ids[length : length + 1]
        going = going[same]
        lengths[going] += 1
        if not going.size:
            return lengths
    # 2) the rest of the long ones in one step, [m, longest]
    offsets = np.arange(min(_ONE_BY_ONE, longest), longest)
    if offsets.size:
        at, last = ends[going, None] + offsets, len(reversed_ids) - 1
        own = reversed_ids[np.minimum(offsets, last)]
        same = (at <= last) & (reversed_ids[np.minimum(at, last)] == own)
        whole = same.all(1)
        lengths[going] += np.where(whole, len(offsets), same.argmin(1))
    return lengths


def _length_without_breaker(
    context: Ids, most: int, settings: DrySettings, spell: Callable[[int], bytes]
) -> int:
    """Return how many of the last tokens, at most `most`, follow the last breaker."""
    longest = max(map(len, settings.breakers), default=0)
    across = [text for text in settings.breakers if len(text) > 1]
    for length in range(min(most, len(context))):
        token = int(context[-1 - length])
        if token in settings.breaker_ids:
            return length
        if across:  # a breaker of several tokens that ends in this one
            own, before, at = spell(token), b"", len(context) - 2 - length
            while at >= 0 and len(before) < longest - 1:
                before, at = spell(int(context[at])) + before, at - 1
            before = before[-(longest - 1) :]
            if any(_ends_in(text, before, own) for text in across):
                return length
    return most


def _ends_in(text: bytes, before: bytes, own: bytes) -> bool:
    """Return whether `text` occurs in `before + own` and ends within `own`."""
    at = (before + own).rfind(text)
    return at >= 0 and at + len(text) > len(before)


def penalize_repeats(
    logits: Tensor, passages: Mapping[int, RepeatedPassage], settings: DrySettings
) -> Tensor:
    """Return logits [V] with those of the tokens that would go on with a repeated
    passage weakened."""
    if not passages:
        return logits
    ids = to_device(list(passages), logits)
    weights = [-settings.penalty(passage.length) for passage in passages.values()]
    return biased(logits, ids, logits.new_tensor(weights))
