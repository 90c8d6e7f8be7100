"""Opening of models whose weights stay in their files, memory-mapped.

The cache keeps what the files lack or hold in another form: the configuration, the
tokenizer and the RoPE frequencies. Reads no weights itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors import SafetensorError
from torch import Tensor

from lmtui import cache_dir
from lmtui.kernels import build
from lmtui.kernels.build import NotCompiled
from lmtui.models.checkpoint import ModelFolder
from lmtui.models.digests import model_digest
from lmtui.models.gguf.header import GgufHeader
from lmtui.models.llama import cache
from lmtui.models.llama.cache import (
    ModelConverter,
    NotLlama,
    NotSupported,
    cached_model,
)
from lmtui.models.llama.linear import Matrices, MatrixRows, WeightSource
from lmtui.models.llama.weights import (
    LlamaWeights,
    Naming,
    WeightReading,
    frequencies_of,
    has_more,
    read_weights,
    shape_of,
)
from lmtui.models.loaded_model import LoadedModel
from lmtui.models.progress import OnProgress, Progress

_SHORT = 0.2  # seconds of compilation that need not be told
_FREQUENCIES = "frequencies.json"
"""RoPE frequencies, which most files don't hold."""
_DAMAGED = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
_OTHERWISE = "--quantize int8 rounds its weights"


class MappedSource(WeightSource, Matrices, Protocol):
    """Tensors of a model's files, and the linear layers that map them."""


class CheckedKernel(Protocol):
    """A compiled library that can be checked."""

    def require_right(self) -> None:
        """Raise ValueError if its results are wrong."""


Kernel = TypeVar("Kernel", bound=CheckedKernel)
Checkpoint = TypeVar("Checkpoint", ModelFolder, GgufHeader)
ReadWeights = Callable[[Checkpoint, dict[str, Any], Tensor], LlamaWeights]
"""Returns the weights of a checkpoint, given its configuration and RoPE frequencies."""


def load_mapped(
    name: str,
    checkpoint: Checkpoint,
    on_progress: OnProgress,
    weights: ReadWeights[Checkpoint],
) -> LoadedModel:
    """Load a model whose weights stay in its files; `weights` maps them.

    Raises:
        NotSupported: the Llama backend can't run the model.
        LmtuiError: it can't be read.
    """
    digest = model_digest(checkpoint.path, on_progress)
    folder = cache.folder_of(digest, "stored")
    with ThreadPoolExecutor(1) as aside:
        # Compiling takes some seconds, about as long as importing transformers.
        compiling = aside.submit(_compile, checkpoint)
        if not cache.is_complete(folder):
            _describe(name, checkpoint, on_progress, folder)
        if not wait([compiling], _SHORT).done:
            on_progress(Progress(f"compiling kernels for {name}, once"))
    compiling.result()
    seen = cache_dir.identity(folder)
    try:
        return _opened(folder, name, checkpoint, weights)
    except _DAMAGED:
        # damaged in a way that `is_complete` does not see
        cache_dir.discard(folder, seen)
        _describe(name, checkpoint, on_progress, folder)
        return _opened_again(folder, name, checkpoint, weights)


def checked_kernel(
    config: Mapping[str, Any], file: str, opened: Callable[[Path], Kernel]
) -> tuple[Kernel, Path]:
    """Return a compiled library for a model with this configuration, checked, and its
    folder; `opened` loads `file` of it.

    Raises:
        NotSupported: it can't be compiled, or was damaged and has been removed.
    """
    folder = _compiled_for(config)
    seen = cache_dir.identity(folder)
    try:
        kernel = opened(folder / file)
        kernel.require_right()
    except (OSError, AttributeError, ValueError) as error:
        # Not compiled again now: a process loads a library of one path only once.
        cache_dir.discard(folder, seen)
        raise NotSupported(f"its compiled kernels were damaged: {error}") from error
    return kernel, folder


def read_mapped(
    config: Mapping[str, Any],
    frequencies: Tensor,
    source: MappedSource,
    naming: Naming,
    kernels: Path,
) -> LlamaWeights:
    """Return the weights of a model whose matrices stay in its files.

    Raises:
        NotSupported: it has parts that the Llama backend does not run.
        ValueError, KeyError: a tensor is missing or has another shape.
    """
    shape = shape_of(config)
    if has_more(shape, source, naming):
        raise NotSupported("its layers have parts that Llama's layers lack")
    reading = WeightReading(
        source, naming, config["vocab_size"], frequencies, source, lambda _: None
    )
    return replace(read_weights(shape, reading), kernels=kernels)


def _compiled_for(config: Mapping[str, Any]) -> Path:
    try:
        shape = shape_of(config)
        return build.compiled_for(shape.head_dim, shape.heads // shape.kv_heads)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise NotSupported(f"its configuration lacks {error}") from error
    except NotCompiled as error:
        raise NotSupported(f"its kernels can't be compiled: {error}") from error


def head_sizes(header: GgufHeader) -> tuple[int, int]:
    """Return the width of a head, and how many query heads share a key head.

    Raises:
        NotSupported: the header does not say.
    """
    names = ("embedding_length", "attention.head_count", "attention.head_count_kv")
    values = (header.values.get(f"{header.architecture}.{name}") for name in names)
    width, heads, keys = values
    if not (isinstance(width, int) and isinstance(heads, int) and heads):
        raise NotSupported("its header lacks the number of heads")
    keys = keys if isinstance(keys, int) and keys else heads
    head = header.values.get(f"{header.architecture}.attention.key_length")
    return head if isinstance(head, int) else width // heads, heads // keys


def _compile(checkpoint: ModelFolder | GgufHeader) -> Path:
    if isinstance(checkpoint, ModelFolder):
        return _compiled_for(checkpoint.config)
    try:
        return build.compiled_for(*head_sizes(checkpoint))
    except NotCompiled as error:
        raise NotSupported(f"its kernels can't be compiled: {error}") from error


def _describe(
    name: str,
    checkpoint: ModelFolder | GgufHeader,
    on_progress: OnProgress,
    folder: Path,
) -> None:
    try:
        keeping = ModelConverter(name, checkpoint, on_progress, packs=False)
        keeping.into(folder, _write_frequencies)
    except NotLlama as error:
        raise NotSupported(f"{error}; {_OTHERWISE}") from error


def _write_frequencies(config: Any, folder: Path) -> None:
    """Write the RoPE frequencies, which the model's files don't hold."""
    try:
        frequencies = frequencies_of(config).tolist()
    except (ValueError, TypeError, KeyError) as error:
        raise NotSupported(f"its rotary embedding is unusual: {error}") from error
    (folder / _FREQUENCIES).write_text(json.dumps(frequencies))


def _opened_again(
    folder: Path,
    name: str,
    checkpoint: Checkpoint,
    weights: ReadWeights[Checkpoint],
) -> LoadedModel:
    try:
        return _opened(folder, name, checkpoint, weights)
    except _DAMAGED as error:
        raise NotSupported(f"its weights can't be mapped: {error}") from error


def _opened(
    folder: Path,
    name: str,
    checkpoint: Checkpoint,
    weights: ReadWeights[Checkpoint],
) -> LoadedModel:
    config = cache.config_in(folder)
    numbers = json.loads((folder / _FREQUENCIES).read_bytes())
    found = weights(checkpoint, config, torch.tensor(numbers, dtype=torch.float32))
    return cached_model(folder, name, config, found)


def row_order(parts: Sequence[MatrixRows]) -> Tensor | None:
    """Return the row of the stacked parts that each output row takes, int64 [N]; None
    where all parts keep their order."""
    if all(part.order is None for part in parts):
        return None
    places, start = [], 0
    for part in parts:
        order = torch.arange(part.rows) if part.order is None else part.order
        places.append(start + order)
        start += part.rows
    return torch.cat(places)
