"""Packed models, kept for the next start.

Owns the folders that hold one: its weights as the kernels take them, in a file that is
mapped and not read, with the model's configuration and its tokenizer. Each is for one
version of torch on one kind of processor, which alone know the order of the numbers.
Knows neither where weights come from nor what runs them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmtui.models import sealed
from lmtui.models.lean import Layer, LeanWeights, shape_of
from lmtui.models.packing import HalfMatrix, Packed

_WEIGHTS = "packed.safetensors"
_LAYOUT = "1"  # of this module and of `lean`: another one is another folder


def folder_of(digest: str, kind: str) -> Path:
    """Where the model with this digest is kept, packed in some way."""
    return sealed.root("packed") / f"{digest}-{kind}"


def is_complete(folder: Path) -> bool:
    """Whether a folder can be used here."""
    return sealed.is_complete(folder, _made_by())


def seal(scratch: Path, folder: Path, source: str) -> None:
    """Give a folder in which everything was written its name.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    sealed.seal(scratch, folder, source=source, made_by=_made_by())


def _made_by() -> dict[str, str]:
    capability = torch.backends.cpu.get_cpu_capability()
    return {"torch": torch.__version__, "cpu": capability, "layout": _LAYOUT}


def write(weights: LeanWeights, folder: Path) -> None:
    """Write the weights of a model into a folder.

    Raises:
        OSError: the disk is full, or can't be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {
        "norm": weights.norm,
        "embedding": weights.embedding,
        "frequencies": weights.frequencies,
    }
    if weights.head.weights is not weights.embedding:
        tensors["head"] = weights.head.weights
    bits = {}
    for index, layer in enumerate(weights.layers):
        for name, part in _parts(f"{index}", layer):
            if isinstance(part, Tensor):
                tensors[name] = part.contiguous()
            else:
                bits[name] = str(part)
    try:
        save_file(tensors, folder / _WEIGHTS, bits)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _parts(name: str, part: Any) -> Iterator[tuple[str, Any]]:
    """The tensors and numbers of a part, by names of where they belong."""
    if is_dataclass(part):
        for each in fields(part):
            yield from _parts(f"{name}.{each.name}", getattr(part, each.name))
    elif part is not None:
        yield name, part


def read(folder: Path, config: Mapping[str, Any]) -> LeanWeights:
    """Map the weights in a complete folder.

    Raises:
        OSError, ValueError, KeyError: it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / _WEIGHTS, framework="pt") as file:
            bits = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    shape = shape_of(config)
    embedding = tensors["embedding"]
    return LeanWeights(
        shape=shape,
        layers=tuple(_layer(tensors, bits, index) for index in range(shape.layers)),
        norm=tensors["norm"],
        embedding=embedding,
        head=HalfMatrix(tensors.get("head", embedding)),
        frequencies=tensors["frequencies"],
    )


def _layer(tensors: Mapping[str, Tensor], bits: Mapping[str, str], index: int) -> Layer:
    def part(name: str) -> Any:
        whole = f"{index}.{name}"
        if f"{whole}.weights" in tensors:
            return Packed(
                tensors[f"{whole}.weights"],
                tensors[f"{whole}.scales"],
                int(bits[f"{whole}.bits"]),
                tensors.get(f"{whole}.dense"),
            )
        return tensors.get(whole)

    return Layer(**{each.name: part(each.name) for each in fields(Layer)})


def config_in(folder: Path) -> dict[str, Any]:
    """The configuration that lies in a folder.

    Raises:
        OSError, ValueError: there is none, or a damaged one.
    """
    config = json.loads((folder / "config.json").read_bytes())
    if not isinstance(config, dict):
        raise ValueError("config.json is not an object")
    return config
