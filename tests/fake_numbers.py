"""The arithmetic of the fake engine: a ranking, and what a sampler makes of it.

Plain Python and written from the definitions, so that it shares nothing with the
engine's own sampler but the meaning.
"""

from __future__ import annotations

import itertools
import math
import random
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    Mark,
    StageEffect,
)

Answer = str | Sequence[str | bytes]
"""A text, cut into words, or the very tokens."""


@dataclass(frozen=True, slots=True)
class Position:
    """A looked-at position: the ranking of the whole vocabulary."""

    ranked: tuple[tuple[int, float], ...]
    """(id, logprob) by (-logprob, id)."""

    @property
    def entropy(self) -> float:
        """In nats."""
        return -math.fsum(math.exp(logprob) * logprob for _, logprob in self.ranked)

    @property
    def varentropy(self) -> float:
        """In nats²."""
        entropy = self.entropy
        return math.fsum(
            math.exp(logprob) * (logprob + entropy) ** 2 for _, logprob in self.ranked
        )

    def logprob(self, token: int) -> float:
        """Of one token."""
        return next(logprob for id_, logprob in self.ranked if id_ == token)

    def rank(self, token: int) -> int:
        """1 + the number of strictly more probable tokens."""
        own = self.logprob(token)
        return 1 + sum(logprob > own for _, logprob in self.ranked)


# A screen asks for the same positions again and again.
@lru_cache(2048)
def position_of(seed: int, size: int, likely: tuple[int, float] | None) -> Position:
    """Pseudo-random logits of a vocabulary; `likely` is a token and its probability."""
    chance = random.Random(seed)
    weights = [math.exp(chance.gauss(0, 1.5)) for _ in range(size)]
    if likely is not None:
        token, prob = likely
        rest = math.fsum(weights) - weights[token]
        weights[token] = rest * prob / (1 - prob)
    whole = math.log(math.fsum(weights))
    rows = [(id_, math.log(weight) - whole) for id_, weight in enumerate(weights)]
    # In the order of their ids where they are equal: a sort leaves that as it is.
    return Position(tuple(sorted(rows, key=itemgetter(1), reverse=True)))


def draw_from(
    ranked: Sequence[tuple[int, float]],
    settings: SamplingSettings,
    banned: frozenset[int] = frozenset(),
) -> tuple[list[float], list[Mark | None]]:
    """Per ranked token its sampled probability and the stage that cut it (penalties are
    left out)."""
    if banned:
        others = [row for row in ranked if row[0] not in banned]
        of_others = zip(*draw_from(others, settings), strict=True)
        both = [(0.0, "b") if id_ in banned else next(of_others) for id_, _ in ranked]
        return [prob for prob, _ in both], [cut for _, cut in both]  # type: ignore[misc]
    if settings.temperature == 0:
        others = len(ranked) - 1
        return [1.0] + [0.0] * others, [None, *(["g"] * others)]
    weights = [
        math.exp((logprob - ranked[0][1]) / settings.temperature)
        for _, logprob in ranked
    ]
    cuts: list[Mark | None] = [None] * len(weights)
    kept = len(weights)
    stages: dict[Mark, Callable[[Sequence[float]], int]] = {
        "k": lambda left: min(settings.top_k or kept, kept),
        "p": lambda left: _nucleus(left, settings.top_p),
        "m": lambda left: sum(w >= settings.min_p for w in left),  # the first is 1
    }
    for stage, stays in stages.items():
        count = stays(weights[:kept])
        cuts[count:kept] = [stage] * (kept - count)
        kept = count
    whole = math.fsum(weights[:kept])
    return [w / whole if i < kept else 0.0 for i, w in enumerate(weights)], cuts


_OFF: Mapping[str, Mapping[str, float]] = {
    "temperature": {"temperature": 1.0},
    "top_k": {"top_k": 0},
    "top_p": {"top_p": 1.0},
    "min_p": {"min_p": 0.0},
}
"""The stages that are known here, and the settings with which they do nothing."""


def settings_until(settings: SamplingSettings, until: str) -> SamplingSettings:
    """The settings with all stages after one switched off."""
    order = settings.sampler_order
    later = order[order.index(until) + 1 :] if until in order else order
    off = {name: value for each in later for name, value in _OFF.get(each, {}).items()}
    return replace(settings, **off)  # type: ignore[arg-type]


def effects_of(
    ranked: Sequence[tuple[int, float]], settings: SamplingSettings
) -> tuple[StageEffect, ...]:
    """What each stage that does anything did."""
    found, before = [], [math.exp(logprob) for _, logprob in ranked]
    for stage in settings.sampler_order:
        values = _OFF.get(stage, {}).items()
        if all(getattr(settings, name) == value for name, value in values):
            continue
        after, cuts = draw_from(ranked, settings_until(settings, stage))
        left = cuts.count(None)
        moved = math.fsum(abs(a - b) for a, b in zip(before, after, strict=True)) / 2
        had = found[-1].left if found else len(ranked)
        found.append(StageEffect(stage, had - left, left, moved))
        before = after
    return tuple(found)


def _nucleus(weights: Sequence[float], top_p: float) -> int:
    """How many of these falling weights make up `top_p` of their sum, at least 1."""
    if top_p >= 1:
        return len(weights)
    whole = math.fsum(weights)
    sums = itertools.accumulate(weights)
    return 1 + sum(part < top_p * whole for part in sums)


def state_after(ids: Sequence[int], before: int = 0) -> int:
    """A context as one number, extended token by token."""
    for id_ in ids:
        before = zlib.crc32(id_.to_bytes(4, "little"), before)
    return before


def tokens_of(answer: Answer) -> list[bytes]:
    """A scripted answer as the bytes of its tokens."""
    cut = re.findall(r"\s*\S+|\s+$", answer) if isinstance(answer, str) else answer
    return [token.encode() if isinstance(token, str) else token for token in cut]
