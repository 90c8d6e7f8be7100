"""Checkpoints on the disk: weights, optimiser moments, training state, best weights.

Files are safetensors and JSON, so loading them can't run code. A checkpoint gets its
name once it is complete; older ones are removed after that.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lmtui import cache_dir, paths, records
from lmtui.errors import LmtuiError
from lmtui.train.run_folder import RunFolder

Weights = Mapping[str, nn.Parameter]
"""The trainable weights, by name."""

_WEIGHTS = "weights.safetensors"
_MOMENTS = "optimizer.safetensors"
_STATE = "state.json"
_CHANCE = "chance"  # key of the random generator's state, beside the moments
_SPARE = 16 * 2**20  # bytes that must stay free on the disk
_REPORT = 16 * 2**20  # bytes of an adapter's text files, at most


@dataclass(frozen=True, slots=True)
class TrainState:
    """The progress of a training, apart from its tensors."""

    step: int = 0
    evaluated: int | None = None
    """The step of the last evaluation."""
    best_step: int | None = None
    """The step of the best evaluation; the one before the first step doesn't count."""
    best_loss: float | None = None
    lowest: float | None = None
    """The lowest held-out loss, the one before the first step included."""
    fruitless: int = 0
    """Evaluations since the best one."""
    early: bool = False
    """Whether early stopping has ended the training."""


def save(
    run: RunFolder,
    weights: Weights,
    optimizer: torch.optim.Optimizer,
    state: TrainState,
) -> None:
    """Save a checkpoint, then remove the older ones. Of a step that is saved already,
    only the state can have changed, by an evaluation.

    Raises:
        LmtuiError: the checkpoint can't be saved; earlier ones are unchanged.
    """
    parent, target = run.checkpoints_folder, run.checkpoint(state.step)
    tensors = _moments(weights, optimizer)
    need = _bytes(weights.values()) + _bytes(tensors.values())
    try:
        if target.is_dir():
            records.write(target / _STATE, state)
            return
        paths.make_folder(parent)
        with paths.scratch_folder(parent) as scratch:
            cache_dir.require_space(parent, need + _SPARE)
            made = scratch / "new"
            paths.make_folder(made)
            _write(weights, made / _WEIGHTS)
            save_file(tensors, made / _MOMENTS)
            records.write(made / _STATE, state)
            paths.seal(made)
            os.rename(made, target)
            paths.sync_folder(parent)
    except (OSError, SafetensorError) as error:
        raise _unsaved(target, error) from error
    for folder in parent.iterdir():
        if folder != target:
            shutil.rmtree(folder, ignore_errors=True)


def space_for(weights: Weights, *, resumed: bool) -> int:
    """Return the bytes of disk that a training needs at most, beyond those written.

    A checkpoint holds the weights and two moments of each, and is written before the
    one it replaces is removed; so are the best weights. A resumed training has one copy
    of both on the disk already.
    """
    size = _bytes(weights.values())
    checkpoint = 3 * size
    copies = 1 if resumed else 2
    return copies * (checkpoint + size) + _SPARE + _REPORT


def load(
    run: RunFolder, step: int, weights: Weights, optimizer: torch.optim.Optimizer
) -> TrainState:
    """Load a checkpoint into the given weights and optimiser, and return its state."""
    folder = run.checkpoint(step)
    with _reading(folder):
        _fill(weights, load_file(folder / _WEIGHTS))
        tensors = load_file(folder / _MOMENTS)
        torch.set_rng_state(tensors.pop(_CHANCE))
        _load_moments(weights, optimizer, tensors)
        return records.built(TrainState, json.loads((folder / _STATE).read_bytes()))


def save_best(run: RunFolder, weights: Weights, step: int) -> None:
    """Save the weights of the best evaluation so far, in place of the earlier ones."""
    folder = run.best_folder
    temporary = folder / f".{_WEIGHTS}"
    try:
        paths.make_folder(folder)
        cache_dir.require_space(folder, _bytes(weights.values()) + _SPARE)
        _write(weights, temporary, {"step": str(step)})
        paths.make_private(temporary)
        paths.sync_file(temporary)
        os.replace(temporary, folder / _WEIGHTS)
        paths.sync_folder(folder)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise _unsaved(folder, error) from error


def load_best(run: RunFolder, weights: Weights) -> int:
    """Load the best weights into the model and return the step they belong to."""
    file = run.best_folder / _WEIGHTS
    with _reading(run.best_folder):
        with safe_open(file, framework="pt") as opened:
            step = int(opened.metadata()["step"])
        _fill(weights, load_file(file))
        return step


def _write(
    weights: Weights, file: Path, metadata: dict[str, str] | None = None
) -> None:
    tensors = {name: weight.detach().contiguous() for name, weight in weights.items()}
    save_file(tensors, file, metadata=metadata)


@torch.no_grad()
def _fill(weights: Weights, saved: dict[str, Tensor]) -> None:
    # In place: a matrix product's rounding can depend on the address of its operands.
    if saved.keys() != weights.keys():
        raise ValueError("it has other weights")
    for name, weight in weights.items():
        if weight.shape != saved[name].shape:
            raise ValueError(f"{name} has another shape")
        weight.copy_(saved[name])


def _moments(weights: Weights, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's moments of each weight and the random generator's state.

    Keys are `KIND:NAME`, and `chance` for the generator.
    """
    tensors = {_CHANCE: torch.get_rng_state()}
    for name, weight in weights.items():
        for kind, value in optimizer.state.get(weight, {}).items():
            tensors[f"{kind}:{name}"] = value.detach().contiguous()
    return tensors


def _load_moments(
    weights: Weights, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    remembered: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition(":")
        remembered.setdefault(name, {})[kind] = value
    for name, weight in weights.items():
        if name in remembered:
            optimizer.state[weight] = {
                kind: _like(weight, value) for kind, value in remembered[name].items()
            }


def _like(weight: Tensor, value: Tensor) -> Tensor:
    """Return a moment as the optimiser itself lays it out.

    A tensor of the weight's shape gets the weight's layout and device; the step count
    keeps its shape and goes to the CPU or the GPU with the weight.
    """
    if value.shape != weight.shape:
        device = weight.device if weight.device.type == "cuda" else "cpu"
        return value.clone().to(device)
    return torch.empty_like(weight, requires_grad=False).copy_(value)


def _bytes(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _unsaved(folder: Path, error: Exception) -> LmtuiError:
    if cache_dir.is_disk_full(error):
        return cache_dir.disk_full(folder, free=cache_dir.free_bytes(folder))
    return LmtuiError(
        "the checkpoint can't be saved",
        f"{folder}: {error}",
        "Free some space, or make the folder writable; then use --resume.",
    )


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise LmtuiError(
            "this checkpoint can't be loaded",
            f"{folder}: {error}",
            "Start again with --overwrite.",
        ) from error
