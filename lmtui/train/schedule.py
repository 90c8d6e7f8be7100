"""The schedule of a training: order of blocks, learning rates, evaluations.

It follows from the settings and the number of blocks alone, so that a resumed training
gets the same one. Steps count from 1; step 0 is before the first one. Knows no tensors
and no files.
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
    """The schedule of a training over a number of blocks."""

    blocks: int
    """Blocks in an epoch; at least 1."""
    settings: TrainSettings

    @property
    def batch(self) -> int:
        """Blocks in an optimiser step: at most all of them."""
        return min(self.settings.batch, self.blocks)

    @property
    def sequences(self) -> int:
        """Number of blocks read in the whole training, repetitions included."""
        return max(1, math.ceil(self.settings.epochs * self.blocks))

    @property
    def steps(self) -> int:
        return math.ceil(self.sequences / self.batch)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: linear warm-up, then cosine decay.

        It would reach 0 one step after the last, so no step has a rate of 0.
        """
        rising = math.ceil(self.settings.warmup * self.steps)
        if step <= rising:
            return self.settings.peak_rate * step / (rising + 1)
        done = (step - rising - 1) / (self.steps - rising)
        return self.settings.peak_rate * (1 + math.cos(math.pi * done)) / 2

    def blocks_of(self, step: int) -> tuple[int, ...]:
        """Return the indices of a step's blocks."""
        first = (step - 1) * self.batch
        last = min(first + self.batch, self.sequences)
        return tuple(self._block(number) for number in range(first, last))

    def _block(self, number: int) -> int:
        epoch, index = divmod(number, self.blocks)
        return _shuffled(self.blocks, self.settings.seed, epoch)[index]

    def epoch(self, step: int) -> float:
        """Return the number of epochs read once a step is over."""
        return min(step * self.batch, self.sequences) / self.blocks

    def evaluated(self, step: int) -> bool:
        """Return whether an evaluation follows a step.

        There are `evaluations` an epoch at equal distances, one after the last step,
        and one before the first.
        """
        if step in (0, self.steps):
            return True
        return self._share(step) > self._share(step - 1)

    def _share(self, step: int) -> int:
        return step * self.batch * self.settings.evaluations // self.blocks

    def evaluations_after(self, step: int) -> int:
        """Return the number of evaluations after the one that may follow `step`."""
        inner = self._share(self.steps - 1) - self._share(step)
        return max(0, min(inner, self.steps - 1 - step)) + (step < self.steps)


@lru_cache(maxsize=2)
def _shuffled(blocks: int, seed: int, epoch: int) -> Sequence[int]:
    """Return the order of the blocks in an epoch.

    It uses a random generator of its own, so it depends on seed and epoch alone.
    """
    order = list(range(blocks))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return order
