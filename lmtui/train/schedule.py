"""When what happens in a training: order of the blocks, rates, evaluations.

Owns all that follows from the settings and the number of blocks alone; a training that
is resumed asks again and gets the same answers. Steps are counted from 1, the first
one; step 0 is the time before it. Knows no tensors and no files.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lmtui.train.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Schedule:
    """The course of a training over so many blocks."""

    blocks: int
    """Blocks of an epoch; at least 1."""
    batch: int
    """Blocks of an optimiser step."""
    epochs: float
    warmup: float
    """Share of the steps in which the rate rises."""
    peak: float
    """The highest rate."""
    evaluations: int
    """Evaluations in an epoch."""
    seed: int

    @classmethod
    def of(cls, blocks: int, settings: TrainSettings) -> Schedule:
        """The course that the settings ask for; a step has at most all the blocks."""
        return cls(
            blocks=blocks,
            batch=min(settings.batch, blocks),
            epochs=settings.epochs,
            warmup=settings.warmup,
            peak=settings.peak_rate,
            evaluations=settings.evaluations,
            seed=settings.seed,
        )

    @property
    def sequences(self) -> int:
        """Blocks that are read, each as often as it is."""
        return max(1, math.ceil(self.epochs * self.blocks))

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return math.ceil(self.sequences / self.batch)

    def rate(self, step: int) -> float:
        """The learning rate of a step: up in a line, then down in half a cosine, which
        comes to 0 after the last one. No step is made at 0."""
        rising = math.ceil(self.warmup * self.steps)
        if step <= rising:
            return self.peak * step / (rising + 1)
        done = (step - rising - 1) / (self.steps - rising)
        return self.peak * (1 + math.cos(math.pi * done)) / 2

    def blocks_of(self, step: int) -> tuple[int, ...]:
        """The indices of the blocks of a step."""
        first = (step - 1) * self.batch
        last = min(first + self.batch, self.sequences)
        return tuple(self._block(place) for place in range(first, last))

    def _block(self, place: int) -> int:
        epoch, index = divmod(place, self.blocks)
        return _shuffled(self.blocks, self.seed, epoch)[index]

    def epoch(self, step: int) -> float:
        """How often the blocks were read when a step is over."""
        return min(step * self.batch, self.sequences) / self.blocks

    def evaluated(self, step: int) -> bool:
        """Whether an evaluation follows a step: so many an epoch, in equal distances,
        and one at the end; also one before the first step."""
        if step in (0, self.steps):
            return True
        return self._share(step) > self._share(step - 1)

    def _share(self, step: int) -> int:
        return step * self.batch * self.evaluations // self.blocks

    def evaluations_after(self, step: int) -> int:
        """How many evaluations are still to come when a step is over."""
        inner = self._share(self.steps - 1) - self._share(step)
        return max(0, min(inner, self.steps - 1 - step)) + (step < self.steps)


@lru_cache(maxsize=2)
def _shuffled(blocks: int, seed: int, epoch: int) -> Sequence[int]:
    """The order of an epoch. A generator of its own: nothing else moves it."""
    order = list(range(blocks))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return order
