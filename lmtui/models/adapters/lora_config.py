"""`adapter_config.json` of LoRA adapters, reduced to the fields that are safe to
follow.

The file may come from anywhere. peft would let it name models to fetch, code to import
and changes that can't be merged, so that peft only gets the fields read here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

from lmtui import records
from lmtui.errors import LmtuiError

FILE = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_NAME = re.compile(r"[\w.]+")

# The matrices that it changes are read from the weights; the other fields only matter
# in training.
_NO_MATTER = frozenset(
    {
        "exclude_modules",
        "inference_mode",
        "layers_pattern",
        "layers_to_transform",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "runtime_config",
        "target_modules",
    }
)
_SUPPORTED: Mapping[str, Sequence[object]] = {
    "peft_type": ("LORA",),
    "task_type": (None, "CAUSAL_LM"),
    "bias": ("none",),
    # Others change the model's own weights, and the adapter fits only those.
    "init_lora_weights": (None, True, False, "gaussian", "orthogonal"),
}


@dataclass(frozen=True)
class Lora:
    """The configuration, by peft's names: W + lora_alpha / r · B A."""

    __pydantic_config__: ClassVar = {"extra": "allow"}  # kept, to be refused by name

    peft_type: str | None = None
    task_type: str | None = None
    bias: str = "none"
    init_lora_weights: bool | str | None = None
    r: int = 8
    lora_alpha: float = 8
    rank_pattern: dict[str, int] = field(default_factory=dict)
    """Ranks that differ, by the ends of modules' names."""
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    use_rslora: bool = False
    """Whether to divide by the root of the rank instead (Kalajdzievski 2023)."""
    fan_in_fan_out: bool = False
    """Whether the model's matrices are [in, out]."""
    base_model_name_or_path: str | None = None
    """Only a hint."""

    def __post_init__(self) -> None:
        for rank in (self.r, *self.rank_pattern.values()):
            if not 0 < rank < 1e6:
                raise ValueError(f"{rank} is not a rank")
        if not all(map(math.isfinite, (self.lora_alpha, *self.alpha_pattern.values()))):
            raise ValueError("a scale is not a finite number")
        for name in (*self.rank_pattern, *self.alpha_pattern):
            # peft makes it a regular expression, which could run for ever.
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a module")


def read_lora(folder: Path) -> Lora:
    """Read the configuration of the adapter in `folder`; refuse all but plain LoRA."""
    file = folder / FILE
    title = "this adapter's configuration can't be read"
    hint = "Copy the adapter again, with all its files."
    lora = records.read(file, Lora, title=title, hint=hint, foreign=True)
    known = _NO_MATTER.union(each.name for each in fields(Lora))
    for name, value in vars(lora).items():
        if name in _SUPPORTED and value not in _SUPPORTED[name]:
            raise _unsupported(file, f"{name} {value!r}")
        if name not in known and value:
            raise _unsupported(file, name)
    return lora


def _unsupported(file: Path, what: str) -> LmtuiError:
    return LmtuiError(
        "this kind of adapter is not supported",
        f"{file}: {what[:200]}",
        "Use a plain LoRA adapter, or merge it where you trust it and give the merged "
        "folder with --model.",
    )
