"""The optimiser steps: their blocks, learning rates, losses and updates.

A step's loss is the mean over all its tokens that count, however they are spread over
its blocks. Steps count from 1; step 0 is before the first one. Knows no evaluation and
no files.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lmtui.errors import LmtuiError
from lmtui.train.dataset import Block
from lmtui.train.loss import IGNORED
from lmtui.train.model import TrainableModel
from lmtui.train.settings import TrainSettings


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule of a training over a number of blocks: their order, learning rates,
    evaluations. It follows from the settings and the number of blocks alone, so that a
    resumed training gets the same one."""

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


@dataclass(frozen=True, slots=True)
class StepResult:
    step: int
    loss: float
    """Mean over the tokens that count, in nats."""
    lr: float
    grad_norm: float
    """Gradient norm before clipping."""
    seconds: float


class NonFiniteLoss(LmtuiError):
    """The loss or the gradient of a step is NaN or infinite."""

    def __init__(self, step: int) -> None:
        super().__init__(
            "the loss is no longer a number",
            f"in step {step}",
            "Train with a lower learning rate.",
        )


class Sequences:
    """The blocks as tensors, in the order in which the steps read them."""

    def __init__(self, blocks: Sequence[Block], schedule: Schedule) -> None:
        self.schedule = schedule
        self._ids = torch.tensor([block.ids for block in blocks])  # [blocks, n]
        trained = torch.tensor([block.trained for block in blocks])
        # The target of a position is the next id, or IGNORED.
        self._targets = torch.full_like(self._ids, IGNORED)
        counts = trained[:, 1:]
        self._targets[:, :-1][counts] = self._ids[:, 1:][counts]
        self._counted = counts.sum(1).tolist()
        self._real = [block.real for block in blocks]

    def of_step(self, step: int) -> list[Sequence[Tensor]]:
        """Return the ids and the targets of each block of a step, [1, n], and the
        number of tokens that count in the whole step."""
        blocks = self.schedule.blocks_of(step)
        counted = torch.tensor(max(1, sum(self._counted[block] for block in blocks)))
        return [(self._ids[[x]], self._targets[[x]], counted) for x in blocks]

    @property
    def counted(self) -> int:
        """Tokens of an epoch whose loss counts."""
        return sum(self._counted)

    def tokens(self, step: int) -> int:
        """Return the number of tokens of a step, without padding."""
        return sum(self._real[block] for block in self.schedule.blocks_of(step))


def adam(model: TrainableModel, rate: float) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019) without weight decay."""
    weights = list(model.weights.values())
    fused = model.loaded.device.type in ("cpu", "cuda")
    return torch.optim.AdamW(weights, lr=rate, weight_decay=0.0, fused=fused)


def steps(
    model: TrainableModel,
    optimizer: torch.optim.Optimizer,
    sequences: Sequences,
    *,
    first: int,
    clip: float,
) -> Iterator[StepResult]:
    """Make the steps from `first` on, one for each item that is asked for."""
    schedule = sequences.schedule
    for step in range(first, schedule.steps + 1):
        began = time.perf_counter()
        model.module.train()  # an evaluation has changed the mode
        loss = sum(add_gradient(model, block) for block in sequences.of_step(step))
        rate = schedule.rate(step)
        norm = update(optimizer, step, loss=loss, rate=rate, clip=clip)
        yield StepResult(step, loss, rate, norm, time.perf_counter() - began)


def add_gradient(model: TrainableModel, block: Sequence[Tensor]) -> float:
    """Add the gradient of a block of `Sequences.of_step`; return its part of the
    step's loss."""
    ids, targets, counted = (tensor.to(model.loaded.device) for tensor in block)
    part = model.loss(ids, targets) / counted
    part.backward()  # type: ignore[no-untyped-call]
    return part.item()


def update(
    optimizer: torch.optim.Optimizer,
    step: int,
    *,
    loss: float,
    rate: float,
    clip: float,
) -> float:
    """Update the weights by their gradients, clipped to a norm of `clip`; return the
    norm before that. Nothing is updated by what is NaN or infinite."""
    (group,) = optimizer.param_groups
    norm = torch.nn.utils.clip_grad_norm_(group["params"], clip).item()
    if not math.isfinite(loss + norm):
        raise NonFiniteLoss(step)
    group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
    return norm
