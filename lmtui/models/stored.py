"""Models whose weights are run as they lie in the user's files, 16 bits each.

Owns which models these are, and how their files become a model: the weights are mapped,
not read, and nothing of them is copied or rounded. What is kept of such a model is its
configuration and its tokenizer, so that later starts import no transformers. Runs
nothing. Whatever is out of the ordinary runs on the exact path, which also says what is
wrong with files that are damaged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from lmtui.models import fit, hardware, kernels, lean, packed_cache, sealed
from lmtui.models.digests import model_digest
from lmtui.models.folder import ModelFolder
from lmtui.models.folder_tensors import FolderTensors
from lmtui.models.keeping import Keeping, OtherShape, Unsuitable, kept_model
from lmtui.models.kernels import NotCompiled
from lmtui.models.lean import LeanWeights, Reading
from lmtui.models.lean_matrices import Head, Linear, Part, of_shape
from lmtui.models.lean_names import LIBRARY, Naming
from lmtui.models.loaded import Loaded
from lmtui.models.products import FORMATS, Products, Stored, StoredHead
from lmtui.models.progress import OnProgress

_FREQUENCIES = "frequencies.json"  # what of a model is nowhere in its files
_DAMAGED = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
_OTHERWISE = "--quantize int8 rounds its weights"


def load_stored(name: str, looked: ModelFolder, on_progress: OnProgress) -> Loaded:
    """The model in a folder whose weights have 16 bits, as they are.

    Raises:
        Unsuitable: it does not run this way.
        LmtuiError: it can't be read, or is too big.
    """
    kind = str(looked.config.get("model_type"))
    if kind not in lean.FAMILIES:
        raise Unsuitable(f"{kind} is not shaped like Llama; {_OTHERWISE}")
    if looked.config.get("quantization_config"):
        raise Unsuitable("its weights are quantised in a way of their own")
    _require_shapes(looked)
    have = hardware.available_ram()
    number_format = str(FORMATS[looked.dtype]).removeprefix("torch.")
    fit.require_memory(looked.parameters, number_format, have, where="cpu")
    digest = model_digest(looked.path, on_progress)
    folder = packed_cache.folder_of(digest, "stored")
    with ThreadPoolExecutor(1) as aside:
        # It takes two seconds, about as long as the import of transformers.
        compiling = aside.submit(_compiled_for, looked.config)
        if not packed_cache.is_complete(folder):
            _describe(name, looked, on_progress, folder)
    compiling.result()
    seen = sealed.identity(folder)
    try:
        return _opened(folder, name, looked)
    except _DAMAGED:
        sealed.discard(folder, seen)  # damaged in some other way
        _describe(name, looked, on_progress, folder)
        return _opened_again(folder, name, looked)


def _require_shapes(looked: ModelFolder) -> None:
    """See that the tensors are those that the configuration tells of.

    Raises:
        Unsuitable: they are others.
    """
    config = looked.config
    try:
        shape, vocabulary = lean.shape_of(config), config["vocab_size"]
        lean.require_shapes(shape, vocabulary, looked.shapes, Naming.library())
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise Unsuitable(
            f"its configuration tells of other tensors: {error}"
        ) from error


def _compiled_for(config: Mapping[str, Any]) -> Path:
    """The folder of what is compiled for a model with such a configuration.

    Raises:
        Unsuitable: it can't be had.
    """
    try:
        shape = lean.shape_of(config)
        return kernels.compiled_for(shape.head, shape.heads // shape.kv_heads)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise Unsuitable(f"its configuration lacks {error}") from error
    except NotCompiled as error:
        raise Unsuitable(f"nothing is compiled for it: {error}") from error


def _describe(
    name: str, looked: ModelFolder, on_progress: OnProgress, folder: Path
) -> None:
    try:
        keeping = Keeping(name, looked, on_progress, packs=False)
        keeping.into(folder, _write_frequencies)
    except OtherShape as error:
        raise Unsuitable(f"{error}; {_OTHERWISE}") from error


def _write_frequencies(config: Any, folder: Path) -> None:
    """Write what of a model is nowhere in its files."""
    frequencies = lean.frequencies_of(config).tolist()
    (folder / _FREQUENCIES).write_text(json.dumps(frequencies))


def _opened_again(folder: Path, name: str, looked: ModelFolder) -> Loaded:
    try:
        return _opened(folder, name, looked)
    except _DAMAGED as error:
        raise Unsuitable(f"its weights can't be mapped: {error}") from error


def _opened(folder: Path, name: str, looked: ModelFolder) -> Loaded:
    config = packed_cache.config_in(folder)
    numbers = json.loads((folder / _FREQUENCIES).read_bytes())
    weights = _weights(looked, config, torch.tensor(numbers, dtype=torch.float32))
    return kept_model(folder, name, config, weights)


def _weights(
    looked: ModelFolder, config: dict[str, Any], frequencies: Tensor
) -> LeanWeights:
    """The weights in a folder, mapped.

    Raises:
        Unsuitable: they are not run.
        OSError, ValueError, KeyError: they are damaged.
    """
    shape, naming = lean.shape_of(config), Naming.library()
    products, compiled = _products(config)
    files = _Files(looked, products)
    files.require_head(tied=bool(config.get("tie_word_embeddings")))
    if lean.has_more(shape, files, naming):
        raise Unsuitable("its layers have something of their own")
    reading = Reading(
        files, naming, config["vocab_size"], frequencies, files, lambda _: None
    )
    return replace(lean.read_weights(shape, reading), kernels=compiled)


def _products(config: Mapping[str, Any]) -> tuple[Products, Path]:
    """What was compiled, found to be right, and its folder.

    Raises:
        Unsuitable: it can't be had; or it was damaged, and is taken away.
    """
    folder = _compiled_for(config)
    seen = sealed.identity(folder)
    try:
        products = Products(folder / kernels.PRODUCTS)
        products.require_right()
    except (OSError, AttributeError, ValueError) as error:
        # Not compiled anew now: a program opens a file of one name only once.
        sealed.discard(folder, seen)
        raise Unsuitable(f"what was compiled for it was damaged: {error}") from error
    return products, folder


class _Files(FolderTensors):
    """The tensors in the files of a model, and how they become its matrices."""

    def __init__(self, looked: ModelFolder, products: Products) -> None:
        super().__init__(looked)
        self._format = FORMATS[looked.dtype]
        self._products = products
        brief = self._format is torch.bfloat16
        # float16 has three bits more for each weight.
        self._rounds = brief and hardware.fast_at_bfloat16(torch.device("cpu"))

    def require_head(self, *, tied: bool) -> None:
        """See that the head is the one that the configuration tells of.

        Raises:
            Unsuitable: it is another one, or missing.
        """
        embedding, head = LIBRARY["embedding"], LIBRARY["head"]
        if head not in self:
            right = tied
        else:
            right = not tied or torch.equal(self.tensor(embedding), self.tensor(head))
        if not right:
            raise Unsuitable("its head is not the one that its configuration says")

    def linear(self, parts: Sequence[Part]) -> Linear:
        """See `lean_matrices.Matrices`."""
        tensors = tuple(self.rows(part.name, part.rows, part.columns) for part in parts)
        return Stored(tensors, self._products, self._rounds, places_of(parts))

    def rows(self, name: str, count: int, width: int) -> Tensor:
        """See `lean_matrices.Matrices`."""
        tensor = of_shape(self.tensor(name), count, width)
        if tensor.dtype is not self._format or not tensor.is_contiguous():
            raise ValueError(f"{name} is {tensor.dtype}, most others {self._format}")
        return tensor

    def head(self, rows: Tensor) -> Head:
        """See `lean_matrices.Matrices`."""
        return StoredHead(rows, self._products)


def places_of(parts: Sequence[Part]) -> Tensor | None:
    """Where the rows of some parts are, one above the other; None where all are in
    their order."""
    if all(part.order is None for part in parts):
        return None
    places, start = [], 0
    for part in parts:
        order = torch.arange(part.rows) if part.order is None else part.order
        places.append(start + order)
        start += part.rows
    return torch.cat(places)
