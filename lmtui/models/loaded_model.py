"""What the loader is asked for, and the model that it hands over, ready to run.

Owns what was decided on the way. Torch is only named: it takes seconds to import.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtui.models.hardware import Precision
from lmtui.models.model_info import ModelInfo, facts_of
from lmtui.models.progress import OnProgress
from lmtui.models.source import Quantize

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoadOptions:
    """What the user wants of the loading."""

    device: str
    dtype: str
    quantize: Quantize
    threads: int | None
    on_progress: OnProgress
    layers: bool = True
    """Whether layers of the library may be packed one by one."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run, and what was decided on the way."""

    model: Any
    """A `PreTrainedModel` in evaluation mode, on its device; a `LlamaModel` where that
    is the fast way."""
    tokenizer: Any
    """A fast one of transformers, or a `LightTokenizer`."""
    name: str
    """As the user names it."""
    folder: Path
    """Where weights and tokenizer were read from."""
    device: torch.device
    dtype: torch.dtype
    precision: Precision
    threads: int
    """Threads that torch computes with."""
    adapter: str | None = None
    """The name of the adapter that is part of it."""
    why: str = ""
    """Why it is not a `LlamaModel`, where that was tried."""
    layer_bits: int = 0
    """Of the weights of the library's layers, where those were packed."""

    @property
    def is_lean(self) -> bool:
        """Whether it is a `LlamaModel`."""
        from lmtui.models.llama.weights import LlamaModel

        return isinstance(self.model, LlamaModel)

    @property
    def number_format(self) -> str:
        """What the weights are: `float32`, …, `int8` or `int4`."""
        if self.is_lean:
            return str(self.model.weights.number_format)
        if self.layer_bits:
            return f"int{self.layer_bits}"
        return str(self.dtype).removeprefix("torch.")

    @property
    def facts(self) -> ModelInfo:
        """What the model says of itself."""
        return self.model.facts if self.is_lean else facts_of(self.model)
