"""The settings of a training, with their defaults and ranges.

Knows neither their source nor their use, and imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lmtui.setting_field import check_fields, setting

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

    method: Method = setting(
        "lora",
        "What is trained: lora (an adapter; the model's weights stay frozen), full "
        "(all weights) or scratch (all weights, from random ones).",
        choices=get_args(Method),
        flag="--full, --from-scratch",
    )
    epochs: float = setting(
        3.0,
        "Maximum number of passes over the notes; the training stops earlier when the "
        "held-out loss no longer improves.",
        above=0,
        high=10_000,
        metavar="N",
    )
    lr: float | None = setting(
        None,
        "Peak learning rate; unset is 0.0002 for an adapter, 0.00002 for all weights, "
        "0.001 from random ones.",
        above=0,
        below=1,
        metavar="X",
    )
    rank: int = setting(
        16,
        "Rank of the adapter's matrices: its capacity.",
        low=1,
        high=4_096,
        metavar="N",
    )
    alpha: int = setting(
        32,
        "The adapter's product is scaled by alpha / rank.",
        low=1,
        high=65_536,
        metavar="N",
    )
    block: int = setting(
        512,
        "Tokens of a training sequence.",
        low=8,
        high=1_048_576,
        metavar="N",
    )
    batch: int = setting(
        4,
        "Sequences per optimiser step, computed one by one.",
        low=1,
        high=4_096,
        metavar="N",
    )
    warmup: float = setting(
        0.05,
        "Share of the steps in which the learning rate rises.",
        low=0,
        high=1,
        flag=None,
    )
    clip: float = setting(
        1.0,
        "Largest gradient norm; a larger gradient is scaled down to it.",
        above=0,
        high=1_000_000,
        flag=None,
    )
    evaluations: int = setting(
        4,
        "Evaluations per epoch, each with a checkpoint.",
        low=1,
        high=1_000,
        metavar="N",
    )
    patience: int = setting(
        3,
        "Evaluations without improvement after which the training stops.",
        low=1,
        high=10_000,
        flag=None,
    )
    held_out: float = setting(
        0.1,
        "Share of the documents that is held out of the training, to evaluate on.",
        low=0,
        below=1,
        metavar="SHARE",
    )
    max_file_mb: float = setting(
        10.0,
        "Larger files are skipped; in megabytes of 1,000,000 bytes.",
        above=0,
        high=10_000,
        flag=None,
    )
    front_matter: FrontMatter = setting(
        "drop",
        "What happens to the YAML at the head of a note: keep or drop.",
        choices=get_args(FrontMatter),
        flag=None,
    )
    dtype: str = setting(
        "auto",
        "Number format of the training: auto, float32 or bfloat16; auto is bfloat16 "
        "where the device is fast at it.",
        choices=("auto", "float32", "bfloat16"),
        metavar="DTYPE",
    )
    seed: int = setting(
        0,
        "Random seed for the order of the text, new weights and the choice of held-out "
        "documents.",
        low=-(2**63),
        high=2**63 - 1,
        metavar="N",
    )
    strict: bool = setting(
        False, "Refuse files with broken rows; otherwise such rows are skipped."
    )
    layers: int | None = setting(
        None,
        "Layers of a model from random weights; unset is as many as the base has.",
        low=1,
        high=1_000,
        metavar="N",
    )
    width: int | None = setting(
        None,
        "Hidden size of a model from random weights; unset is that of the base.",
        low=1,
        high=65_536,
        metavar="N",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def peak_rate(self) -> float:
        return LEARNING_RATES[self.method] if self.lr is None else self.lr
