"""The steps: blocks in, changed weights out, by the library's Trainer.

Owns what the Trainer is told and what it is given: the order of the blocks, the loss,
the optimiser, the rates. A step's loss is the mean over the tokens of the step that
count, however they are spread over its blocks. Knows no evaluation and no files:
whoever is told of a step decides whether another follows.
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
    """A step that was made."""

    step: int
    loss: float
    """Mean over its tokens that count, in nats."""
    lr: float
    grad_norm: float
    """Before it was clipped."""
    seconds: float


AfterStep = Callable[[StepResult], bool]
"""Told of each step; whether another one is to follow."""


class NonFiniteLoss(Exception):
    """A loss or a gradient is NaN or infinite; `step` is the one it came up in."""

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
    """Make the steps that `sequences` holds, until the last or until it is told to end.

    Raises:
        NotANumber: the loss or the gradient of a step is none.
    """
    schedule, made = sequences.schedule, sequences.made

    def share(more: int) -> float:
        step = min(made + 1 + more, schedule.steps)
        return schedule.rate(step) / schedule.peak

    watch = _Watch(after_step, made)
    kept = trainee.model.config.use_cache  # the trainer changes it
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
    """The optimiser (Loshchilov & Hutter 2019), without weight decay."""
    weights = list(trainee.weights.values())
    fused = trainee.loaded.device.type in ("cpu", "cuda")
    return torch.optim.AdamW(weights, lr=rate, weight_decay=0.0, fused=fused)


class Sequences(Dataset[dict[str, Tensor]]):
    """The blocks as they are read, from the first step that was not made yet."""

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
        """The sequences of a step, each with the number of tokens that count in all."""
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
        """Tokens whose loss counts, in an epoch."""
        return sum(self._counted)

    def tokens(self, step: int) -> int:
        """Tokens of a step, padding left out."""
        return sum(self._real[block] for block in self.schedule.blocks_of(step))


def together(sequences: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Sequences as a batch."""
    names = sequences[0]
    return {name: torch.stack([each[name] for each in sequences]) for name in names}


def share_of_loss(trainee: TrainableModel, batch: dict[str, Tensor]) -> Tensor:
    """What a batch adds to the loss of its step."""
    total = trainee.loss(batch["input_ids"], batch["targets"])
    return total / batch["counted"][0]


class _NotesTrainer(Trainer):  # type: ignore[misc]
    """The library's trainer with our loss."""

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
    """Tells of every step, once its loss and its gradient are known."""

    def __init__(self, after_step: AfterStep, made: int) -> None:
        self._after_step = after_step
        self._chance: Tensor | None = torch.get_rng_state()
        self._began = 0.0
        self.step = made
        """The last step that was made."""

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if self._chance is not None:  # the trainer and its loader have moved it
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
        if "loss" not in logs:  # the sums at the end
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
        num_train_epochs=1,  # the sequences are those of all epochs
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
