"""Two steps on trial leave nothing behind."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from lmtui.cancellation import cancelled_when
from lmtui.errors import Cancelled
from lmtui.train.plan import calibrate, pieces
from lmtui.train.schedule import Schedule
from lmtui.train.settings import TrainSettings
from lmtui.train.trainer import NonFiniteLoss, Sequences
from tests.train.tiny_training import blocks, copied, same, trainee


def sequences(made: int = 0) -> Sequences:
    return Sequences(blocks(5), Schedule(5, TrainSettings(batch=2)), made)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("made", [0, 6, 8])
def test_calibration_leaves_model_and_random_state_unchanged(
    method: str, half: bool, made: int
) -> None:
    subject = trainee(method=method, half=half)
    before, chance = copied(subject), torch.get_rng_state()
    seconds, memory = calibrate(subject, sequences(made), clip=1.0)
    assert same(copied(subject), before)
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(weight.grad is None for weight in subject.weights.values())
    assert not subject.model.training
    assert seconds > 0
    assert memory > 1_000_000


def test_calibration_can_be_cancelled() -> None:
    subject = trainee()
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        calibrate(subject, sequences(), clip=1.0)


def test_nan_in_calibration_raises_and_changes_no_weight() -> None:
    subject = trainee()
    before = copied(subject)
    norm: Any = subject.loaded.model.model.norm
    norm.weight.data.fill_(math.nan)
    with pytest.raises(NonFiniteLoss):
        calibrate(subject, sequences(), clip=1.0)
    assert same(copied(subject), before)


def test_sample_goes_on_over_short_blocks() -> None:
    subject, made = trainee(), blocks(5)
    one, all_ = pieces(made[:1], subject), pieces(made, subject)
    first, whole = ("".join(piece.text for piece in each) for each in (one, all_))
    assert whole.startswith(first.rstrip("�")) and len(whole) > len(first)
    assert all(a.trained != b.trained for a, b in pairwise(all_))
