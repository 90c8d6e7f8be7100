"""The section `[finetune]`: how a model is trained.

A name of it may be that of another setting (`seed`, `dtype`): the field, and the
variable, say `finetune` before it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from lmtui.sections.setting import Kind, setting
from lmtui.train.settings import CHOICES, TrainSettings

FINETUNE = "finetune"
_DEFAULT = TrainSettings()
_BEFORE = f"{FINETUNE}_"


def _train(name: str, meaning: str, *, kind: Kind, flag: str = "") -> Any:
    return setting(
        getattr(_DEFAULT, name),
        meaning,
        kind=kind,
        section=FINETUNE,
        flag=flag,
        choices=CHOICES.get(name, ()),
    )


@dataclass(frozen=True)
class FinetuneSection:
    """How a model is trained; the names are those of `TrainSettings`."""

    finetune_method: str = _train(
        "method",
        "What is trained: lora (an adapter; the model's weights stay frozen), full "
        "(all weights) or scratch (all weights, from random ones).",
        kind=str,
        flag="--full, --from-scratch",
    )
    finetune_epochs: float = _train(
        "epochs",
        "Most passes over the notes; the training stops earlier when the held-out loss "
        "no longer improves.",
        kind=float,
    )
    finetune_lr: float | None = _train(
        "lr",
        "Peak learning rate; unset is 0.0002 for an adapter, 0.00002 for all weights, "
        "0.001 from random ones.",
        kind=float,
    )
    finetune_rank: int = _train(
        "rank", "Rank of the adapter's matrices: its capacity.", kind=int
    )
    finetune_alpha: int = _train(
        "alpha", "The adapter's product is scaled by alpha / rank.", kind=int
    )
    finetune_block: int = _train("block", "Tokens of a training sequence.", kind=int)
    finetune_batch: int = _train(
        "batch", "Sequences per optimiser step, computed one by one.", kind=int
    )
    finetune_warmup: float = _train(
        "warmup", "Share of the steps in which the learning rate rises.", kind=float
    )
    finetune_clip: float = _train(
        "clip",
        "Largest gradient norm; a larger gradient is scaled down to it.",
        kind=float,
    )
    finetune_evaluations: int = _train(
        "evaluations", "Evaluations per epoch, each with a checkpoint.", kind=int
    )
    finetune_patience: int = _train(
        "patience",
        "Evaluations without improvement after which the training stops.",
        kind=int,
    )
    finetune_held_out: float = _train(
        "held_out",
        "Share of the documents that is held out of the training, to evaluate on.",
        kind=float,
    )
    finetune_max_file_mb: float = _train(
        "max_file_mb",
        "Larger files are skipped; in megabytes of 1,000,000 bytes.",
        kind=float,
    )
    finetune_front_matter: str = _train(
        "front_matter",
        "What happens to the YAML at the head of a note: keep or drop.",
        kind=str,
    )
    finetune_dtype: str = _train(
        "dtype",
        "Number format of the training: auto, float32 or bfloat16; auto is bfloat16 "
        "where the device is fast at it.",
        kind=str,
    )
    finetune_seed: int = _train(
        "seed",
        "Random seed of the order, of new weights and of what is held out.",
        kind=int,
    )
    finetune_strict: bool = _train(
        "strict",
        "Refuse files with broken rows; otherwise such rows are skipped.",
        kind=bool,
    )
    finetune_layers: int | None = _train(
        "layers",
        "Layers of a model from random weights; unset is as many as the base has.",
        kind=int,
    )
    finetune_width: int | None = _train(
        "width",
        "Hidden size of a model from random weights; unset is that of the base.",
        kind=int,
    )

    @property
    def training(self) -> TrainSettings:
        """The section as a training takes it.

        Raises:
            LmtuiError: its values can't go together.
        """
        given = {
            item.name: getattr(self, item.name) for item in fields(FinetuneSection)
        }
        return TrainSettings(
            **{name.removeprefix(_BEFORE): value for name, value in given.items()}
        )


def check(name: str, value: Any) -> None:
    """Refuse a value that can't be trained with.

    Raises:
        LmtuiError: it is out of its range.
    """
    TrainSettings(**{name.removeprefix(_BEFORE): value})
