"""A step on trial leaves nothing behind."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from lmtui.train.plan import pieces, timed_step
from lmtui.train.settings import TrainSettings
from lmtui.train.trainer import Schedule, Sequences
from tests.train.tiny_training import blocks, copied, same, trainable

SEQUENCES = Sequences(blocks(5), Schedule(5, TrainSettings(batch=2)))


@pytest.mark.parametrize(
    ("method", "half", "step"), [("lora", False, 1), ("full", True, 8)]
)
def test_timed_step_leaves_model_and_random_state_unchanged(
    method: str, half: bool, step: int
) -> None:
    subject = trainable(method=method, half=half)
    before, chance = copied(subject), torch.get_rng_state()
    seconds = timed_step(subject, SEQUENCES, step, clip=1.0)
    assert same(copied(subject), before)
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(weight.grad is None for weight in subject.weights.values())
    assert not subject.module.training
    assert seconds > 0


def test_sample_goes_on_over_short_blocks() -> None:
    subject, made = trainable(), blocks(5)
    one, all_ = pieces(made[:1], subject), pieces(made, subject)
    first, whole = ("".join(p.text for p in parts) for parts in (one, all_))
    assert whole.startswith(first.rstrip("�")) and len(whole) > len(first)
    assert all(a.trained != b.trained for a, b in pairwise(all_))
