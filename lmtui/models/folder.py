"""A model folder in Hugging Face format, looked at before it is loaded.

Owns the checks that need no weights: the configuration, that every file of
weights is there and whole, and that none needs to be unpickled. Knows nothing of
where the folder came from.
"""

from __future__ import annotations

import json
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.models.safetensors_header import WeightFile, read_weight_file

INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What a model folder says about itself."""

    path: Path
    config: dict[str, Any]
    weights: tuple[WeightFile, ...]

    @property
    def bytes(self) -> int:
        """Size of all weights on disk."""
        return sum(file.bytes for file in self.weights)

    @property
    def by_dtype(self) -> dict[str, int]:
        """Number of weights by dtype name."""
        counts: Counter[str] = Counter()
        for file in self.weights:
            counts.update(file.parameters)
        return dict(counts)

    @property
    def parameters(self) -> int:
        """Number of weights that are stored."""
        return sum(self.by_dtype.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all tensors, by name."""
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
        """The class or type that the configuration names."""
        named = self.config.get("architectures")
        first = named[0] if isinstance(named, list) and named else None
        return str(first or self.config.get("model_type", "unknown"))

    @property
    def context(self) -> int | None:
        """Most tokens the model was made for, where the configuration says."""
        for key in ("max_position_embeddings", "n_positions", "max_seq_len"):
            if isinstance(value := self.config.get(key), int):
                return value
        return None


def read_folder(path: Path) -> ModelFolder:
    """Look at the model folder `path`.

    Raises:
        LmtuiError: it holds no model, only pickled weights, or damaged files.
    """
    _require_files(path)
    config = _read_config(path)
    return ModelFolder(path, config, tuple(map(read_weight_file, _weights(path))))


def has_tokenizer(path: Path) -> bool:
    """Whether some kind of tokenizer lies in the folder."""
    return any((path / name).is_file() for name in _TOKENIZERS)


def _require_files(path: Path) -> None:
    """Refuse what is neither a file nor a folder: who reads a pipe waits for ever."""
    for place in (path, path / "additional_chat_templates"):
        for entry in place.iterdir() if place.is_dir() else ():
            try:
                mode = entry.stat().st_mode
            except OSError:
                continue  # a link to nothing, which may be of no use
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise _broken(entry, "it is no ordinary file")


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise _no_model(path)
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(file, str(error)) from error
    if not isinstance(config, dict):
        raise _broken(file, "it is not an object")
    return config


def _weights(path: Path) -> list[Path]:
    """The files of weights that transformers would read."""
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
    """The error for weights in a format that can run code when it is read."""
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
        "a file of the model can't be read",
        f"{file}: {why}",
        "Fetch or copy the file again.",
    )
