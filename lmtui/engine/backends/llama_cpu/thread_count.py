"""The number of threads that compute one token on a machine that others use, too.

All threads wait for the slowest one at the end of each operation. Beside another busy
process, one of them loses its core again and again, and one thread fewer is faster.
Knows no model.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

_RECENT = 8  # passes that say how fast it is now
_TRIED = 3  # passes of a trial
_SLOW = 1.5  # times the fastest pass: something else must be running
_PAYS = 0.85  # of the time before: a trial has shown that another number is faster
_SHORTEST = 0.25  # seconds between two trials
_LONGEST = {True: 16.0, False: 2.0}  # the same, with all threads or with one fewer
_FEW = 16  # tokens of a pass that is no prompt
_FORGETS = 1.002  # by pass, since a growing context makes all of them slower


class ThreadCount:
    """Chooses between all threads and one fewer, by the times that passes take."""

    def __init__(
        self,
        threads: int,
        use: Callable[[int], None] = torch.set_num_threads,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`use` sets the number of threads, `clock` tells seconds."""
        self._all, self._use, self._clock = threads, use, clock
        self._now = self._used = threads
        self._lasting = 0  # answers that are being generated
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._fastest = float("inf")
        # The time of a pass before a trial, and those in it; None outside of trials.
        self._before: float | None = None
        self._tried: list[float] = []
        self._pause, self._next_trial = _SHORTEST, float("-inf")

    @contextmanager
    def measured(self, tokens: int) -> Iterator[None]:
        """Run a pass with the number of threads that is the fastest at present, and
        measure it if it is over one token. Prompts have all threads."""
        self._set(self._now if tokens <= _FEW else self._all)
        start = self._clock()
        try:
            yield
        finally:
            if not self._lasting:
                self._set(self._all)
        if tokens == 1 and self._all > 1:
            end = self._clock()
            self._took(end - start, end)

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Keep the number of threads between passes, for what is computed there, also
        where several answers are generated in turns. It is that of the whole process:
        other models have all threads again afterwards."""
        self._lasting += 1
        try:
            yield
        finally:
            self._lasting -= 1
            if not self._lasting:
                self._set(self._all)

    def _set(self, threads: int) -> None:
        if threads != self._used:
            self._used = threads
            self._use(threads)

    def _took(self, seconds: float, now: float) -> None:
        if self._now == self._all:
            self._fastest = min(self._fastest * _FORGETS, seconds)
        if self._before is not None:
            self._try(seconds, now)
            return
        self._recent.append(seconds)
        if (
            len(self._recent) == _RECENT
            and now >= self._next_trial
            and self._doubts(now)
        ):
            self._before = median(self._recent)
            self._now = self._other

    def _doubts(self, now: float) -> bool:
        """Return whether another number of threads should be tried."""
        fewer = self._now < self._all
        slow = median(self._recent) > _SLOW * self._fastest
        return fewer or slow or now >= self._next_trial + _LONGEST[True]

    def _try(self, seconds: float, now: float) -> None:
        self._tried.append(seconds)
        if len(self._tried) < _TRIED:
            return
        assert self._before is not None
        better = median(self._tried) < _PAYS * self._before
        if better:
            self._pause = _SHORTEST
        else:
            self._now = self._other
            self._pause = min(2 * self._pause, _LONGEST[self._now == self._all])
        self._next_trial = now + self._pause
        self._before, self._tried = None, []
        self._recent.clear()

    @property
    def _other(self) -> int:
        return 2 * self._all - 1 - self._now
