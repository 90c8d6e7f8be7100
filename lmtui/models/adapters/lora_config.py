"""`adapter_config.json` of LoRA adapters, reduced to the fields that are safe to
follow.

The file may come from anywhere. peft would let it name models to fetch, code to import
and changes that can't be merged, so that peft only gets the fields read here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmtui.errors import LmtuiError

FILE = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_LONGEST = 1_000_000  # bytes
_NAME = re.compile(r"[\w.]+")

# The matrices that it changes are read from the weights; the other fields only matter
# in training.
_NO_MATTER = frozenset(
    {
        "base_model_name_or_path",
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
# Other initialisations change the model's own weights, and the adapter fits only those.
_BEGINNINGS = (None, True, False, "gaussian", "orthogonal")


@dataclass(frozen=True, slots=True)
class Lora:
    """The scaling of an adapter's matrices: W + alpha / rank · B A."""

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    """Ranks that differ, by the ends of modules' names."""
    alphas: Mapping[str, float]
    """Alphas that differ, by the ends of modules' names."""
    rank_stabilised: bool
    """Whether to divide by the root of the rank instead (Kalajdzievski 2023)."""
    transposed: bool
    """Whether the model's matrices are [in, out]."""
    base: str
    """The base model in the file; only a hint."""


def read_lora(folder: Path) -> Lora:
    """Read the configuration of the adapter in `folder`; refuse all but plain LoRA."""
    file = folder / FILE
    try:
        if file.stat().st_size > _LONGEST:
            raise ValueError("it is too large")
        return _lora(json.loads(file.read_bytes()), file)
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise LmtuiError(
            "this adapter's configuration can't be read",
            f"{file}: {error}",
            "Copy the adapter again, with all its files.",
        ) from error


def _lora(config: object, file: Path) -> Lora:
    if not isinstance(config, dict):
        raise ValueError("it is not an object")
    asked = dict(config)
    if (kind := asked.pop("peft_type", None)) != "LORA":
        raise _unsupported(file, f"peft_type {kind!r}")
    if (task := asked.pop("task_type", None)) not in (None, "CAUSAL_LM"):
        raise _unsupported(file, f"task_type {task!r}")
    if (bias := asked.pop("bias", "none")) != "none":
        raise _unsupported(file, f"bias {bias!r}")
    if (begun := asked.pop("init_lora_weights", None)) not in _BEGINNINGS:
        raise _unsupported(file, f"init_lora_weights {begun!r}")
    lora = Lora(
        rank=_rank(asked.pop("r", 8)),
        alpha=_scale(asked.pop("lora_alpha", 8)),
        ranks={_name(k): _rank(v) for k, v in _table(asked.pop("rank_pattern", {}))},
        alphas={_name(k): _scale(v) for k, v in _table(asked.pop("alpha_pattern", {}))},
        rank_stabilised=_flag(asked.pop("use_rslora", False)),
        transposed=_flag(asked.pop("fan_in_fan_out", False)),
        base=str(asked.get("base_model_name_or_path") or ""),
    )
    for name, value in asked.items():
        if name not in _NO_MATTER and value:
            raise _unsupported(file, name)
    return lora


def _rank(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1e6:
        raise ValueError(f"{value!r} is not a rank")
    return value


def _scale(value: object) -> float:
    number = None if isinstance(value, bool) else value
    if isinstance(number, int | float) and math.isfinite(number):
        return number
    raise ValueError(f"{value!r} is not a scale")


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _name(value: str) -> str:
    # peft makes it a regular expression, which could run for ever.
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not the name of a module")
    return value


def _table(value: Any) -> Any:
    if not isinstance(value, dict | None):
        raise ValueError(f"{value!r} is not an object")
    return (value or {}).items()


def _unsupported(file: Path, what: str) -> LmtuiError:
    return LmtuiError(
        "this kind of adapter is not supported",
        f"{file}: {what[:200]}",
        "Use a plain LoRA adapter, or merge it where you trust it and give the merged "
        "folder with --model.",
    )
