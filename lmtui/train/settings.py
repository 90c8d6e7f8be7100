"""The settings of a training, with their defaults and ranges.

Knows neither their source nor their use, and imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lmtui.errors import LmtuiError

Method = Literal["lora", "full", "scratch"]
"""A LoRA beside frozen weights, all weights, or all weights from random values."""

FrontMatter = Literal["keep", "drop"]

LEARNING_RATES: Mapping[Method, float] = {"lora": 2e-4, "full": 2e-5, "scratch": 1e-3}
"""The default peak learning rate of each method.

A LoRA works best at about ten times the rate of full training, at nearly any rank
(Schulman et al., "LoRA Without Regret", 2025).
"""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """The settings of a training; lengths in tokens, shares from 0 to 1."""

    method: Method = "lora"
    rank: int = 16
    """Rank of the LoRA's matrices."""
    alpha: int = 32
    """The LoRA's product is scaled by alpha / rank."""
    lr: float | None = None
    """Peak learning rate; None is the method's default."""
    epochs: float = 3.0
    """Passes over the notes, at most; early stopping may end the training before."""
    block: int = 512
    """Tokens of a training sequence."""
    batch: int = 4
    """Sequences in an optimiser step, by gradient accumulation."""
    warmup: float = 0.05
    """Share of the steps during which the learning rate rises."""
    clip: float = 1.0
    """Largest gradient norm; a larger gradient is scaled down to it."""
    evaluations: int = 4
    """Evaluations and checkpoints in an epoch."""
    patience: int = 3
    """Evaluations without a better loss after which training stops early."""
    held_out: float = 0.1
    """Share of the documents that is held out for evaluation."""
    max_file_mb: float = 10.0
    """Larger files are skipped; in megabytes of 1,000,000 bytes."""
    front_matter: FrontMatter = "drop"
    """Whether the YAML front matter of a note is kept or dropped."""
    dtype: str = "auto"
    """The dtype that the training computes in: auto, float32 or bfloat16; auto is
    bfloat16 where the device is fast at it."""
    seed: int = 0
    """Seed of the order of blocks, of new weights and of the held-out choice."""
    strict: bool = False
    """Refuse files with broken rows instead of leaving the rows out."""
    layers: int | None = None
    """Layers of a model trained from scratch; None is as many as the base has."""
    width: int | None = None
    """Hidden size of a model trained from scratch; None is the base's."""

    def __post_init__(self) -> None:
        """Refuse values that can't be used.

        Raises:
            LmtuiError: a value is out of its range.
        """
        for name in ("rank", "alpha", "block", "batch", "evaluations", "patience"):
            _require(name, getattr(self, name) >= 1, self, "Give at least 1.")
        for name in ("layers", "width"):
            value = getattr(self, name)
            _require(name, value is None or value >= 1, self, "Give at least 1.")
        for name in ("epochs", "clip", "max_file_mb"):
            _require(name, 0 < getattr(self, name) < 1e9, self, "Give more than 0.")
        for name, choices in CHOICES.items():
            known = getattr(self, name) in choices
            _require(name, known, self, f"Give {' or '.join(choices)}.", "is unknown")
        _require("block", self.block >= 8, self, "Give at least 8.")
        _require(
            "lr",
            self.lr is None or 0 < self.lr < 1,
            self,
            "Give a rate such as 0.0002.",
        )
        _require("warmup", 0 <= self.warmup <= 1, self, "Give a share from 0 to 1.")
        _require("held_out", 0 <= self.held_out < 1, self, "Give a share below 1.")

    @property
    def peak_rate(self) -> float:
        """The learning rate after the warm-up."""
        return LEARNING_RATES[self.method] if self.lr is None else self.lr


CHOICES: Mapping[str, tuple[str, ...]] = {
    "method": get_args(Method),
    "front_matter": get_args(FrontMatter),
    "dtype": ("auto", "float32", "bfloat16"),
}
"""The values of the settings that take one of a few words."""


def _require(
    name: str,
    holds: bool,
    settings: TrainSettings,
    hint: str,
    wrong: str = "is out of range",
) -> None:
    if not holds:
        raise LmtuiError(f"{name} {wrong}", f"{getattr(settings, name)}", hint)
