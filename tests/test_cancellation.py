"""Cancellation: of the block that runs, and of nothing else."""

from __future__ import annotations

from functools import cache
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui import cancellation
from lmtui.cancellation import cancelled_when
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    FinishReason,
    GenerationResult,
    Prompt,
)
from lmtui.errors import Cancelled
from tests.engine import tiny

PROMPT = Prompt((5, 6, 7, 8), "")
SETTINGS = SamplingSettings(seed=1, max_tokens=12)


def test_only_the_innermost_block_is_asked() -> None:
    assert not cancellation.requested()
    with cancelled_when(lambda: True):
        with cancelled_when(lambda: False):
            cancellation.check()
        with pytest.raises(Cancelled):
            cancellation.check()
    cancellation.check()


def test_a_block_ends_with_its_error() -> None:
    with pytest.raises(ValueError), cancelled_when(lambda: True):
        raise ValueError
    assert not cancellation.requested()


def test_polling_reports_and_asks_the_block_around_it() -> None:
    reports = []
    with (
        cancelled_when(lambda: len(reports) == 3),
        cancellation.polling(lambda: reports.append("polled")),
    ):
        cancellation.check()
        assert not cancellation.requested()
        assert cancellation.requested()
    assert len(reports) == 3


def test_other_threads_go_on() -> None:
    asked = []
    with cancelled_when(lambda: True):
        thread = Thread(target=lambda: asked.append(cancellation.requested()))
        thread.start()
        thread.join()
    assert asked == [False]


@cache
def written_alone() -> list[Any]:
    return list(tiny.engine().generate(PROMPT, SETTINGS))


@given(
    after=st.integers(0, 13),
    order=st.lists(st.integers(0, 1), min_size=30, max_size=30),
)
def test_of_two_generations_that_take_turns_one_is_cancelled(
    after: int, order: list[int]
) -> None:
    """The other has the text that it has alone, whenever that happens."""
    alone = written_alone()
    engine = tiny.engine(slots=2)
    items: list[list[object]] = [[], []]
    conditions = (lambda: len(items[0]) >= after, lambda: False)
    running = [engine.generate(PROMPT, SETTINGS, slot=slot) for slot in range(2)]
    for turn in [*order, *[0] * 14, *[1] * 14]:
        with cancelled_when(conditions[turn]):
            items[turn] += [item for item in [next(running[turn], None)] if item]
    *steps, end = items[0]
    assert isinstance(end, GenerationResult)
    assert (end.reason is FinishReason.CANCELLED) == (after < len(alone) - 1)
    for found in (steps, items[1][:-1]):
        same = alone[: len(found)]
        assert [(s.id, s.logprob) for s in found] == [  # type: ignore[attr-defined]
            (s.id, s.logprob) for s in same
        ]
    assert len(items[1]) == len(alone)
