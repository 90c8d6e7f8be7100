"""How a model is trained: what can be chosen, with the values that are meant for most.

Owns the values and their ranges. Knows neither where they come from nor what is done
with them, and imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lmtui.errors import LmtuiError

Method = Literal["lora", "full", "scratch"]
"""A low-rank adapter beside frozen weights, all weights, or all from random ones."""

FrontMatter = Literal["keep", "drop"]

LEARNING_RATES: Mapping[Method, float] = {"lora": 2e-4, "full": 2e-5, "scratch": 1e-3}
"""The peak rate of each method. An adapter likes about ten times the rate of full
training, at nearly any rank (Schulman et al., "LoRA Without Regret", 2025)."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """How to train; lengths in tokens, shares from 0 to 1."""

    method: Method = "lora"
    rank: int = 16
    """Rank of the adapter's matrices."""
    alpha: int = 32
    """The adapter's product is scaled by alpha / rank."""
    lr: float | None = None
    """Peak learning rate; None is that of the method."""
    epochs: float = 3.0
    """Most passes over the notes; it stops earlier where nothing is won."""
    block: int = 512
    """Tokens of a training sequence."""
    batch: int = 4
    """Sequences of an optimiser step, gathered one by one."""
    warmup: float = 0.05
    """Share of the steps in which the rate rises."""
    clip: float = 1.0
    """Longest gradient; a longer one is scaled down to it."""
    evaluations: int = 4
    """Evaluations and checkpoints in an epoch."""
    patience: int = 3
    """Evaluations without progress after which training stops."""
    held_out: float = 0.1
    """Share of the documents that are kept from training, to judge by."""
    max_file_mb: float = 10.0
    """Larger files are skipped; in megabytes of 1,000,000 bytes."""
    front_matter: FrontMatter = "drop"
    """What happens to the YAML at the head of a note."""
    dtype: str = "auto"
    """Arithmetic of the training: auto, float32 or bfloat16; auto is bfloat16 where
    the device is fast at it."""
    seed: int = 0
    """Seed of the order, of new weights and of what is held out."""
    strict: bool = False
    """Refuse files with broken rows, where they are left out otherwise."""
    layers: int | None = None
    """Layers of a model that begins at random weights; None is as many as the base."""
    width: int | None = None
    """Its hidden size; None is that of the base."""

    def __post_init__(self) -> None:
        """Refuse values nobody can train with.

        Raises:
            LmtuiError: one of them is out of its range.
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
"""The settings that take one of a few words."""


def _require(
    name: str,
    holds: bool,
    settings: TrainSettings,
    hint: str,
    wrong: str = "is out of range",
) -> None:
    if not holds:
        raise LmtuiError(f"{name} {wrong}", f"{getattr(settings, name)}", hint)
