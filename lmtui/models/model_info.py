"""Properties of a model in one form, whatever backend runs it.

They are read from a model of transformers, or from the files it was saved to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
_CONTEXT = 2048  # where a model's configuration has none


@dataclass(frozen=True, slots=True)
class ModelInfo:
    architecture: str
    """The class of transformers that runs it."""
    parameters: int
    vocabulary: int
    context: int
    """The most tokens that it was made for."""
    end_ids: frozenset[int]
    """Ids of the tokens that end an answer."""
    generation_defaults: tuple[tuple[str, float], ...]
    """The sampling settings that it recommends."""


def facts_of(model: Any) -> ModelInfo:
    config, generation = model.config.get_text_config(), model.generation_config
    named = {name: getattr(generation, name, None) for name in _SAMPLING}
    return ModelInfo(
        architecture=type(model).__name__,
        parameters=weights_in(model),
        vocabulary=config.vocab_size,
        context=getattr(config, "max_position_embeddings", None) or _CONTEXT,
        end_ids=_ids(getattr(generation, "eos_token_id", None), config.eos_token_id),
        generation_defaults=_numbers(named),
    )


def weights_in(module: Any) -> int:
    """Return the number of weights of a module, of which some may stay in a file."""
    held = sum(int(parameter.numel()) for parameter in module.parameters())
    return held + sum(getattr(each, "weights", 0) for each in module.modules())


def facts_in(
    folder: Path, config: Mapping[str, Any], architecture: str, parameters: int
) -> ModelInfo:
    """Return the properties of a model whose configuration is saved in `folder`.

    Raises:
        OSError, ValueError, KeyError: a file is damaged.
    """
    generation = _generation(folder)
    return ModelInfo(
        architecture=architecture,
        parameters=parameters,
        vocabulary=config["vocab_size"],
        context=config.get("max_position_embeddings") or _CONTEXT,
        end_ids=_ids(generation.get("eos_token_id"), config.get("eos_token_id")),
        generation_defaults=recommended_in(folder),
    )


def recommended_in(folder: Path) -> tuple[tuple[str, float], ...]:
    """Return the sampling settings that `folder` recommends.

    Raises:
        OSError, ValueError: a file is damaged.
    """
    generation = _generation(folder)
    return _numbers({name: generation.get(name) for name in _SAMPLING})


def end_ids_in(folder: Path) -> frozenset[int]:
    """Return the ids of the tokens that end an answer, as `folder` says.

    Raises:
        OSError, ValueError: a file is damaged.
    """
    return _ids(_generation(folder).get("eos_token_id"))


def _generation(folder: Path) -> Mapping[str, Any]:
    file = folder / "generation_config.json"
    settings = json.loads(file.read_bytes()) if file.is_file() else {}
    return settings if isinstance(settings, Mapping) else {}


def _ids(*declared: Any) -> frozenset[int]:
    """Return the ids among numbers and lists of numbers; a file may say anything."""
    ids: list[Any] = []
    for value in declared:
        ids += value if isinstance(value, list | tuple) else [value]
    return frozenset(token for token in ids if isinstance(token, int))


def _numbers(named: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    """Return the entries that are numbers; a file may say anything."""
    return tuple(
        (name, float(value))
        for name, value in named.items()
        if isinstance(value, int | float) and math.isfinite(value)
    )
