"""Checks of the numbers in a model's configuration against its tensors.

transformers builds a model, and allocates its memory, by the configuration alone: no
model may be larger than its files.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lmtui.errors import LmtuiError
from lmtui.models.checkpoint import FLOATS, ModelFolder, read_folder

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_WIDTHS = ("hidden_size", "intermediate_size", "vocab_size", "head_dim", "n_embd")
_COUNT = re.compile(r"(num|n)_\w*(heads?|layers?|experts?)\w*")
_INDEXED = re.compile(r"(.*?)\.(\d+)\.")
_PACKED = 16  # numbers that one element of a quantised tensor may hold
_SPARE = 1 << 22  # numbers that a model computes itself: masks, RoPE angles, …
_LONGEST_CONTEXT = 1 << 27  # tokens: ten times the longest context of any model
_TEXTS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")


def read_model(path: Path) -> ModelFolder:
    """Read a model folder, and check its configuration against its tensors."""
    looked = read_folder(path)
    _require_fitting(looked)
    _require_floats(looked)
    return looked


def _require_floats(files: ModelFolder) -> None:
    """Refuse integer weights where no quantisation is configured."""
    if files.config.get("quantization_config"):
        return
    for file in files.weights:
        for name, dtype in file.dtypes.items():
            if name.endswith(".weight") and dtype not in FLOATS:
                raise _contradiction(files.path, f"{name} is stored as {dtype}")


def _require_fitting(files: ModelFolder) -> None:
    shapes = files.shapes
    most = max((max(shape, default=1) for shape in shapes.values()), default=0)
    most = max(most, len(shapes))
    if files.config.get("quantization_config"):
        most *= _PACKED
    stored = max(map(len, _by_list(shapes).values()), default=0)
    for config in _parts(files.config):
        for name, value in config.items():
            if name in _TEXTS:
                fits = value is None or _is_count(value, _LONGEST_CONTEXT)
                _require(files, name, value, fits, "a plausible number of tokens")
            elif name in _LAYERS:
                fits = value is None or _is_count(value, stored, minimum=1)
                words = f"at most {stored:,}, the layers that its files hold"
                _require(files, name, value, fits, words)
            elif name in _WIDTHS or _COUNT.fullmatch(name):
                fits = not isinstance(value, int | float) or _is_count(value, most)
                _require(files, name, value, fits, f"at most {most:,}, by its tensors")
            elif name.endswith(("_eps", "epsilon")):
                fits = not isinstance(value, int | float) or 0 < value < 1
                _require(files, name, value, fits, "between 0 and 1")


def require_small(config: Any, stored: int, path: Path) -> None:
    """Refuse a configuration of transformers whose model would be larger than its
    files, which have `stored` numbers."""
    import torch
    from transformers import AutoModelForCausalLM

    if getattr(config, "quantization_config", None):
        return
    with torch.device("meta"):  # allocates nothing
        shell = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    numbers = [*shell.parameters(), *shell.buffers()]
    size, most = sum(map(torch.numel, numbers)), 2 * stored + _SPARE
    if size > most:
        why = f"a model of {size:,} numbers, and its files hold {stored:,}"
        raise _contradiction(path, why)


def refuse_leftover(files: ModelFolder, unused: Iterable[str]) -> None:
    """Refuse a model that leaves out layers of its files. `unused` are the tensors that
    it does not use."""
    # extra layers for multi-token prediction
    guesses = files.config.get("num_nextn_predict_layers")
    further = guesses if isinstance(guesses, int) else 0
    left = _by_list(unused)
    used = _by_list(set(files.shapes) - set(unused))
    for name, indices in left.items():
        if name in used and len(indices - used[name]) > further:
            raise _contradiction(
                files.path,
                f"its files hold {len(indices | used[name]):,} layers {name}.…, and "
                f"its configuration tells of {len(used[name]):,}",
            )


def layers_in(names: Iterable[str], beginning: str) -> int:
    """Return how many layers' tensors begin with `beginning`."""
    return len(_by_list(names).get(beginning, ()))


def _by_list(names: Iterable[str]) -> Mapping[str, set[int]]:
    """Return the indices of each module list, by its name."""
    by_list: dict[str, set[int]] = defaultdict(set)
    for name in names:
        if match := _INDEXED.match(name):
            by_list[match[1]].add(int(match[2]))
    return by_list


def _parts(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a configuration and all that are nested in it."""
    tables = [config]
    for part in tables:  # the list grows meanwhile
        tables += [value for value in part.values() if isinstance(value, dict)]
    return tables


def _is_count(value: Any, limit: int, *, minimum: int = 0) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and minimum <= value <= limit


def _require(files: ModelFolder, name: str, value: Any, fits: bool, words: str) -> None:
    if not fits:
        raise _contradiction(
            files.path, f"{name} is {value!r:.40}, and should be {words}"
        )


def _contradiction(path: Path, why: str) -> LmtuiError:
    return LmtuiError(
        "the weights don't belong to this model",
        f"{path}: {why}",
        "Fetch or copy config.json and the weights again, from the same model.",
    )
