"""A pretraining that takes no time, and texts for it."""

from __future__ import annotations

import random
from typing import Any

from lmtui.learn.pretrain.options import PretrainOptions

_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "ça")


def text(size: int = 4_000, *, seed: int = 0) -> bytes:
    """Lines of words, `size` bytes."""
    chance = random.Random(seed)
    lines = (" ".join(chance.choices(_WORDS, k=8)) + ".\n" for _ in range(size // 10))
    return "".join(lines).encode()[:size]


def options(**given: Any) -> PretrainOptions:
    """A small model, and few steps instead of a time."""
    small: dict[str, Any] = {
        "steps": 12, "layers": 1, "width": 16, "heads": 2, "context": 16, "batch": 4,
        "sample_bytes": 8, "threads": 1,
    }  # fmt: skip
    return PretrainOptions(**small | given)
