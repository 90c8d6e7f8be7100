"""The number of threads follows what else the machine does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from lmtui.engine.backends.llama_cpu.thread_count import ThreadCount

ALONE = {2: 3.0, 1: 5.0}
"""Milliseconds of a pass, by the number of threads."""


class Machine:
    """A clock that passes advance, and the number of threads in use."""

    def __init__(self, threads: int = 2) -> None:
        self.seconds, self.threads = 0.0, threads
        self.count = ThreadCount(threads, self.use, lambda: self.seconds)
        self.used: list[int] = []

    def use(self, threads: int) -> None:
        self.threads = threads

    def run(self, passes: int, milliseconds: Callable[[int], float]) -> float:
        """Run passes; return the milliseconds of one, on average."""
        start = self.seconds
        for _ in range(passes):
            with self.count.measured(1):
                self.used.append(self.threads)
                self.seconds += milliseconds(self.threads) / 1000
        return (self.seconds - start) / passes * 1000


def busy() -> Callable[[int], float]:
    """Beside another process: two threads are often interrupted, one is not."""
    waits: Iterator[float] = cycle([0.0, 9.0, 4.0, 9.0, 9.0, 0.0, 9.0])
    return lambda threads: ALONE[threads] + (next(waits) if threads == 2 else 0)


def test_nearly_all_passes_have_all_threads_on_a_quiet_machine() -> None:
    machine = Machine()
    assert machine.run(20_000, ALONE.__getitem__) < 1.01 * ALONE[2]


def test_one_thread_fewer_computes_beside_a_busy_process() -> None:
    machine = Machine()
    assert machine.run(2_000, busy()) < 1.15 * ALONE[1]


def test_all_threads_compute_again_after_it() -> None:
    machine = Machine()
    machine.run(2_000, busy())
    machine.run(1_000, ALONE.__getitem__)
    assert machine.run(5_000, ALONE.__getitem__) < 1.02 * ALONE[2]


def test_a_machine_that_was_never_quiet_is_found_out() -> None:
    machine = Machine()
    machine.run(6_000, {2: 10.0, 1: 5.0}.__getitem__)
    assert machine.run(4_000, {2: 10.0, 1: 5.0}.__getitem__) < 5.5


@pytest.mark.parametrize("slow", [{2: 9.0, 1: 15.0}, {2: 9.0, 1: 9.0}])
def test_all_threads_stay_where_fewer_are_no_faster(slow: dict[int, float]) -> None:
    machine = Machine()
    machine.run(100, ALONE.__getitem__)
    machine.run(2_000, slow.__getitem__)
    assert machine.used[-500:].count(2) > 480


def test_a_prompt_has_all_threads() -> None:
    machine = Machine()
    machine.run(1_000, busy())
    with machine.count.measured(4):
        assert machine.threads == 1
    with machine.count.measured(100):
        assert machine.threads == 2


def test_other_models_have_all_threads_after_a_pass() -> None:
    machine = Machine()
    machine.run(1_000, busy())
    with pytest.raises(KeyError), machine.count.measured(1):
        assert machine.threads == 1
        raise KeyError
    assert machine.threads == 2
    with machine.count.lasting():
        with machine.count.measured(1):
            pass
        assert machine.threads == 1
    assert machine.threads == 2


def test_a_single_thread_is_left_alone() -> None:
    machine = Machine(1)
    machine.run(100, lambda _: 3.0)
    assert set(machine.used) == {1}
