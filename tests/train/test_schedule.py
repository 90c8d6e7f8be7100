"""The course of a training follows from its settings alone."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.train.schedule import Schedule
from lmtui.train.settings import TrainSettings

schedules = st.builds(
    Schedule,
    blocks=st.integers(1, 60),
    settings=st.builds(
        TrainSettings,
        batch=st.integers(1, 8),
        epochs=st.floats(0.1, 5),
        warmup=st.floats(0, 1),
        lr=st.just(1e-3),
        evaluations=st.integers(1, 6),
        seed=st.integers(0, 9),
    ),
)


@given(schedules)
def test_every_epoch_reads_every_block_once(schedule: Schedule) -> None:
    read = [
        block
        for step in range(1, schedule.steps + 1)
        for block in schedule.blocks_of(step)
    ]
    assert (
        len(read)
        == schedule.sequences
        == math.ceil(schedule.settings.epochs * schedule.blocks)
    )
    for start in range(0, len(read), schedule.blocks):
        epoch = read[start : start + schedule.blocks]
        assert max(Counter(epoch).values()) == 1
        if len(epoch) == schedule.blocks:
            assert sorted(epoch) == list(range(schedule.blocks))
    assert schedule.epoch(schedule.steps) == len(read) / schedule.blocks


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    settings = TrainSettings(batch=40, epochs=2)
    schedule, other = (Schedule(40, replace(settings, seed=seed)) for seed in (0, 1))
    orders = {schedule.blocks_of(1), schedule.blocks_of(2), other.blocks_of(1)}
    assert len(orders) == 3
    assert schedule.blocks_of(1) == Schedule(40, settings).blocks_of(1)


@given(schedules)
def test_learning_rate_rises_then_falls_and_is_never_zero(schedule: Schedule) -> None:
    rates = [schedule.rate(step) for step in range(1, schedule.steps + 1)]
    assert all(0 < rate <= schedule.settings.peak_rate for rate in rates)
    top = rates.index(max(rates))
    assert rates == sorted(rates[: top + 1]) + sorted(rates[top + 1 :], reverse=True)


def test_learning_rate_is_a_cosine_to_zero() -> None:
    schedule = Schedule(100, TrainSettings(batch=1, epochs=1, warmup=0.1, lr=0.5))
    assert schedule.rate(11) == 0.5
    assert schedule.rate(56) == pytest.approx(0.25)
    assert schedule.rate(101) == pytest.approx(0)


@given(schedules)
def test_evaluations_after_counts_the_evaluations_to_come(schedule: Schedule) -> None:
    evaluated = [schedule.evaluated(step) for step in range(schedule.steps + 1)]
    assert evaluated[0]
    assert evaluated[-1]
    for step in range(schedule.steps + 1):
        assert schedule.evaluations_after(step) == sum(evaluated[step + 1 :])


def test_an_epoch_is_evaluated_as_often_as_asked() -> None:
    schedule = Schedule(40, TrainSettings(batch=2, epochs=2, evaluations=4))
    steps = [step for step in range(1, 41) if schedule.evaluated(step)]
    assert steps == [5, 10, 15, 20, 25, 30, 35, 40]


def test_few_blocks_make_small_steps() -> None:
    schedule = Schedule(1, TrainSettings())
    assert (schedule.batch, schedule.steps) == (1, 3)
    assert [schedule.blocks_of(step) for step in (1, 2, 3)] == [(0,), (0,), (0,)]
