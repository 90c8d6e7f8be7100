"""A pretraining that takes no time, and texts for it."""

from __future__ import annotations

import random
from typing import Any

from lmtui.learn.pretrain.loop import Pretraining
from lmtui.learn.pretrain.request import PretrainRequest
from lmtui.train.events import PretrainStart, PretrainStep

_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "ça")


def text(size: int = 4_000) -> str:
    """Lines of words, `size` bytes at most."""
    chance = random.Random(0)
    lines = (" ".join(chance.choices(_WORDS, k=8)) + ".\n" for _ in range(size // 10))
    return "".join(lines).encode()[:size].decode(errors="ignore")


def request(content: str = "", **given: Any) -> PretrainRequest:
    """A small model, and few steps instead of a time."""
    small: dict[str, Any] = {
        "steps": 12, "layers": 1, "width": 16, "heads": 2, "context": 16, "batch": 4,
        "sample_bytes": 8,
    }  # fmt: skip
    return PretrainRequest(content or text(), **small | given)


def trained(asked: PretrainRequest) -> tuple[PretrainStart, list[PretrainStep]]:
    told: list[Any] = []
    end = Pretraining(asked, told.append).run()
    start, *steps = told
    assert end.finish == "done" and end.step == steps[-1].step
    return start, steps
