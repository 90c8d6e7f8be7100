"""A tiny model that can be trained, and blocks for it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch

from lmtui.models.adapters.card import Base
from lmtui.models.loaded_model import LoadedModel
from lmtui.train.dataset import Block
from lmtui.train.model import TrainableModel, prepare_for_training
from lmtui.train.settings import TrainSettings
from tests.engine import tiny

LENGTH = 48
BASE = Base("tiny", "tiny", ("0" * 64,))


def trainable(
    family: str = "llama",
    *,
    half: bool = False,
    loaded: LoadedModel | None = None,
    **settings: Any,
) -> TrainableModel:
    if loaded is None:
        loaded = replace(tiny.loaded(family), model=deepcopy(tiny.model(family)))
    return prepare_for_training(
        loaded, BASE, TrainSettings(**{"rank": 4} | settings), half=half
    )


def blocks(count: int, *, seed: int = 0) -> tuple[Block, ...]:
    """Blocks that can be learned, of which very different parts count."""
    chance = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        ids = torch.randint(3, 40, (LENGTH,), generator=chance).tolist()
        counting = LENGTH - (number * 17) % (LENGTH - 4)
        trained = [place < counting for place in range(LENGTH)]
        made.append(Block(tuple(ids), tuple(trained), real=LENGTH))
    return tuple(made)


def copied(subject: TrainableModel) -> dict[str, torch.Tensor]:
    return {name: w.detach().clone() for name, w in subject.weights.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether they are, to the last bit."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one
    )
