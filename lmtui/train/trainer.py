"""The optimiser steps, made by transformers' Trainer.

Gives the Trainer the order of blocks, the loss, the optimiser and the learning rates. A
step's loss is the mean over all its tokens that count, however they are spread over its
blocks. Knows no evaluation and no files.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from lmtui.models.errors import quiet
from lmtui.train.dataset import Block
from lmtui.train.loss import IGNORED
from lmtui.train.model import TrainableModel
from lmtui.train.schedule import Schedule


@dataclass(frozen=True, slots=True)
class StepResult:
    step: int
    loss: float
    """Mean over the tokens that count, in nats."""
    lr: float
    grad_norm: float
    """Gradient norm before clipping."""
    seconds: float


AfterStep = Callable[[StepResult], bool]
"""Called after each step; returns whether another one follows."""


class NonFiniteLoss(Exception):
    """The loss or the gradient of `step` is NaN or infinite."""

    def __init__(self, step: int) -> None:
        super().__init__(f"step {step}")
        self.step = step


def train(
    trainee: TrainableModel,
    optimizer: torch.optim.Optimizer,
    sequences: Sequences,
    *,
    clip: float,
    after_step: AfterStep,
    folder: Path,
) -> None:
    """Make the steps of `sequences`, until the last one or until `after_step` ends it.

    Raises:
        NonFiniteLoss: the loss or the gradient of a step is NaN or infinite.
    """
    schedule, made = sequences.schedule, sequences.made

    def share(more: int) -> float:
        step = min(made + 1 + more, schedule.steps)
        return schedule.rate(step) / schedule.settings.peak_rate

    watch = _Watch(after_step, made)
    kept = trainee.model.config.use_cache  # the Trainer changes it
    with quiet():
        trainer = _NotesTrainer(
            model=trainee.model,
            args=_arguments(trainee, schedule, clip, folder),
            train_dataset=sequences,
            data_collator=together,
            optimizers=(optimizer, LambdaLR(optimizer, share)),
            callbacks=[watch],
        )
        trainer.trainee, trainer.watch = trainee, watch
        trainer.remove_callback(PrinterCallback)
    try:
        with quiet():
            trainer.train()
    finally:
        trainee.model.config.use_cache = kept


def adam(trainee: TrainableModel, rate: float) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019) without weight decay."""
    weights = list(trainee.weights.values())
    fused = trainee.loaded.device.type in ("cpu", "cuda")
    return torch.optim.AdamW(weights, lr=rate, weight_decay=0.0, fused=fused)


class Sequences(Dataset[dict[str, Tensor]]):
    """The blocks in reading order, from the first step still to make.

    An item has `input_ids` [n], `targets` [n] and `counted`, a scalar.
    """

    def __init__(self, blocks: Sequence[Block], schedule: Schedule, made: int) -> None:
        self.schedule = schedule
        self.made = made
        """Steps that were made before."""
        self._ids = torch.tensor([block.ids for block in blocks])
        trained = torch.tensor([block.trained for block in blocks])
        self._targets = torch.full_like(self._ids, IGNORED)
        counts = trained[:, 1:]
        self._targets[:, :-1][counts] = self._ids[:, 1:][counts]
        self._counted = counts.sum(1).tolist()
        self._real = [block.real for block in blocks]

    def __len__(self) -> int:
        return max(0, self.schedule.sequences - self.made * self.schedule.batch)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        step, place = divmod(index, self.schedule.batch)
        return self.step(self.made + 1 + step)[place]

    def step(self, step: int) -> list[dict[str, Tensor]]:
        """Return the sequences of a step.

        `counted` is the number of tokens that count in the whole step; targets are the
        next ids, or `IGNORED`.
        """
        blocks = self.schedule.blocks_of(step)
        counted = torch.tensor(max(1, sum(self._counted[block] for block in blocks)))
        return [
            {
                "input_ids": self._ids[block],
                "targets": self._targets[block],
                "counted": counted,
            }
            for block in blocks
        ]

    @property
    def counted(self) -> int:
        """Tokens of an epoch whose loss counts."""
        return sum(self._counted)

    def tokens(self, step: int) -> int:
        """Return the number of tokens of a step, without padding."""
        return sum(self._real[block] for block in self.schedule.blocks_of(step))


def together(sequences: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack sequences into a batch: [n] → [batch, n]."""
    names = sequences[0]
    return {name: torch.stack([each[name] for each in sequences]) for name in names}


def share_of_loss(trainee: TrainableModel, batch: dict[str, Tensor]) -> Tensor:
    """Return the part that a batch [1, n] adds to the loss of its step."""
    total = trainee.loss(batch["input_ids"], batch["targets"])
    return total / batch["counted"][0]


class _NotesTrainer(Trainer):  # type: ignore[misc]
    """transformers' Trainer with this program's loss."""

    loss_is_scaled_for_ga = True
    trainee: TrainableModel
    watch: _Watch

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        loss = share_of_loss(self.trainee, inputs)
        if not bool(loss.isfinite()):
            raise NonFiniteLoss(self.watch.step + 1)
        return loss


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Reports every step, once its loss and gradient norm are known."""

    def __init__(self, after_step: AfterStep, made: int) -> None:
        self._after_step = after_step
        self._chance: Tensor | None = torch.get_rng_state()
        self._began = 0.0
        self.step = made
        """The last step that was made."""

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        # The Trainer and its data loader have drawn random numbers before this.
        if self._chance is not None:
            torch.set_rng_state(self._chance)
            self._chance = None
        self._began = time.perf_counter()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        logs: dict[str, float],
        **_: Any,
    ) -> None:
        if "loss" not in logs:  # the Trainer's summary at the end
            return
        self.step += 1
        made = StepResult(
            step=self.step,
            loss=logs["loss"],
            lr=logs["learning_rate"],
            grad_norm=float(logs["grad_norm"]),
            seconds=time.perf_counter() - self._began,
        )
        if not math.isfinite(made.grad_norm):
            raise NonFiniteLoss(made.step)
        if not self._after_step(made):
            control.should_training_stop = True


def _arguments(
    trainee: TrainableModel, schedule: Schedule, clip: float, folder: Path
) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        use_cpu=trainee.loaded.device.type == "cpu",
        num_train_epochs=1,  # `Sequences` has the blocks of all epochs
        train_sampling_strategy="sequential",
        per_device_train_batch_size=1,
        gradient_accumulation_steps=schedule.batch,
        max_grad_norm=clip,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
