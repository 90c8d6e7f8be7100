"""Options of the model loader, and the loaded model that it returns.

Torch is imported for type checking only, since the import takes seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmtui.cache_dir import size
from lmtui.errors import LmtuiError
from lmtui.models.hardware import Precision
from lmtui.models.model_info import ModelInfo, facts_of
from lmtui.models.progress import OnProgress
from lmtui.models.source import Quantize

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoadOptions:
    device: str
    dtype: str
    quantize: Quantize
    threads: int | None
    on_progress: OnProgress


@dataclass(frozen=True)
class LoadedModel:
    """A model that is ready to run, and how it was loaded."""

    model: Any
    """A `PreTrainedModel` in evaluation mode on its device, a `LlamaModel` for the
    Llama backend, a `LmtuiServerModel` or a `ListingModel`."""
    tokenizer: Any
    """A fast tokenizer of transformers, or a `TokenizersTokenizer`."""
    name: str
    folder: Path
    """The folder that weights and tokenizer were read from."""
    device: torch.device
    """Where the logits come from."""
    dtype: torch.dtype
    precision: Precision
    threads: int
    """The number of threads that torch computes with."""
    adapter: str | None = None
    why: str = ""
    """The reason why it is not a `LlamaModel`, where that was tried."""
    in_blocks: bool = False
    """Whether it is a model of transformers whose weights stay in the file."""
    unpacked: int = 0
    """Bytes that would hold its weights, where these are unpacked for each pass."""

    @property
    def is_llama(self) -> bool:
        from lmtui.models.llama.weights import LlamaModel

        return isinstance(self.model, LlamaModel)

    def require_quick(self) -> None:
        """Refuse to write with weights that are unpacked for each pass: a token would
        take as long as a page."""
        if self.unpacked:
            raise LmtuiError(
                "this model is too large to write exactly",
                f"its weights take {size(self.unpacked)} in float32, more than a "
                "quarter of the free memory",
                "Leave out --quantize none, or give --dtype float32, which holds them.",
            )

    @property
    def is_mapped(self) -> bool:
        """Whether its weights stay in files."""
        return self.in_blocks or self.is_llama

    @property
    def is_remote(self) -> bool:
        return self.precision == "remote"

    @property
    def device_name(self) -> str:
        """The device it runs on, perhaps that of a server."""
        if self.is_remote:
            return str(self.model.device)
        return str(self.device)

    @property
    def number_format(self) -> str:
        """The format of its weights: `float32`, …, `Q8_0`."""
        if self.is_llama:
            return str(self.model.weights.number_format)
        kept = getattr(self.model, "number_format", None)  # that of a file or a server
        if kept is not None:
            return str(kept)
        return str(self.dtype).removeprefix("torch.")

    @property
    def facts(self) -> ModelInfo:
        facts: ModelInfo | None = getattr(self.model, "facts", None)
        return facts_of(self.model) if facts is None else facts
