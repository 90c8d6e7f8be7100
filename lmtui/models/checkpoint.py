"""Checks of a model folder in Hugging Face format that need no weights.

The configuration, and that every weights file is there, complete and not pickled. Knows
nothing of where the folder came from.
"""

from __future__ import annotations

import json
import math
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmtui.errors import LmtuiError

INDEX = "model.safetensors.index.json"
FLOATS = ("F64", "F32", "F16", "BF16")
"""Types of weights that are not quantised, as safetensors and GGUF call them."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")
_LONGEST_TEXT = 10_000_000  # bytes of a configuration or header; others take for ever


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One safetensors file, checked to be complete."""

    path: Path
    bytes: int
    shapes: dict[str, tuple[int, ...]]
    """The shape of each tensor, by name."""
    dtypes: dict[str, str]
    """The dtype of each tensor, by name: `F32`, `BF16`, …"""


def read_weight_file(path: Path) -> WeightFile:
    """Read the header of `path`, which is checked against the file's size."""
    from safetensors import SafetensorError, safe_open

    try:
        size = path.stat().st_size
        with path.open("rb") as raw:
            header = int.from_bytes(raw.read(8), "little")
        if _LONGEST_TEXT < header < size:
            raise _damaged(path, f"its header has {header:,} bytes")
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {
                name: tuple(stored.get_shape()) for name, stored in tensors.items()
            }
            dtypes = {name: stored.get_dtype() for name, stored in tensors.items()}
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    except SafetensorError as error:
        raise _damaged(path, f"{error}") from error
    return WeightFile(path, size, shapes, dtypes)


def _damaged(path: Path, why: str) -> LmtuiError:
    return LmtuiError(
        "a weights file is damaged or cut short",
        f"{path}: {why}",
        "Fetch or copy the file again.",
    )


@dataclass(frozen=True, slots=True)
class ModelFolder:
    path: Path
    config: dict[str, Any]
    weights: tuple[WeightFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.weights)

    @property
    def by_dtype(self) -> dict[str, int]:
        """The number of weights by dtype."""
        counts: Counter[str] = Counter()
        for file in self.weights:
            for name, shape in file.shapes.items():
                counts[file.dtypes[name]] += math.prod(shape)
        return dict(counts)

    @property
    def parameters(self) -> int:
        return sum(self.by_dtype.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            name: shape for file in self.weights for name, shape in file.shapes.items()
        }

    @property
    def dtype(self) -> str:
        """The dtype most weights are stored in, as safetensors calls it."""
        counts = self.by_dtype
        return max(counts, key=lambda name: counts[name]) if counts else "F32"

    @property
    def architecture(self) -> str:
        named = self.config.get("architectures")
        first = named[0] if isinstance(named, list) and named else None
        return str(first or self.config.get("model_type", "unknown"))

    @property
    def context(self) -> int | None:
        """The most tokens that the model was made for, where the configuration has
        it."""
        for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
            if isinstance(value := self.config.get(key), int):
                return value
        return None


def read_folder(path: Path) -> ModelFolder:
    require_plain_files(path)
    config = _read_config(path)
    return ModelFolder(path, config, tuple(map(read_weight_file, _weights(path))))


def has_tokenizer(path: Path) -> bool:
    return any((path / name).is_file() for name in _TOKENIZERS)


def require_plain_files(path: Path) -> None:
    """Refuse a folder with pipes and the like: reading one could block for ever."""
    for folder in (path, path / "additional_chat_templates"):
        for entry in folder.iterdir() if folder.is_dir() else ():
            try:
                mode = entry.stat().st_mode
            except OSError:
                continue  # a dangling link, which is perhaps not needed
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise _broken(entry, "it is no ordinary file")


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise _no_model(path)
    try:
        if file.stat().st_size > _LONGEST_TEXT:
            raise ValueError(f"it has more than {_LONGEST_TEXT:,} bytes")
        config = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(file, str(error)) from error
    if not isinstance(config, dict):
        raise _broken(file, "it is not an object")
    return config


def _weights(path: Path) -> list[Path]:
    """Return the weights files that transformers would read."""
    if (path / INDEX).is_file():
        return _shards(path)
    if (path / "model.safetensors").is_file():
        return [path / "model.safetensors"]
    if any(file for pattern in _PICKLES for file in path.glob(pattern)):
        raise pickles_only(str(path))
    raise _no_model(path, "it has a config.json but no model.safetensors")


def _shards(path: Path) -> list[Path]:
    index = path / INDEX
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(index, str(error)) from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise _broken(
                index, f"it names {name!r}, which is not a file in this folder"
            )
        if not (path / name).is_file():
            raise LmtuiError(
                "a weights file is missing",
                str(path / name),
                "Fetch or copy the folder again, with all its parts.",
            )
    return [path / name for name in names]


def pickles_only(where: str) -> LmtuiError:
    """Return the error for weights in a format that can run code when it is read."""
    return LmtuiError(
        "its weights are pickled, and unpickling a file can run any code",
        where,
        "Use a safetensors version of the model, or convert it where you trust it: "
        "load it with transformers and call save_pretrained.",
    )


def _no_model(path: Path, why: str = "it has no config.json") -> LmtuiError:
    files = sorted(p.name for p in path.glob("*.gguf"))
    if files:
        hint = f"Name the file in it: --model {path / files[0]}"
    else:
        hint = "A model folder contains config.json, *.safetensors and tokenizer.json."
    return LmtuiError("this folder does not contain a model", f"{path}: {why}", hint)


def _broken(file: Path, why: str) -> LmtuiError:
    return LmtuiError(
        "a file of this folder can't be read",
        f"{file}: {why}",
        "Fetch or copy the file again.",
    )
