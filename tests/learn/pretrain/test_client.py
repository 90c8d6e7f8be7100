"""The pretraining process from outside: started, listened to, and however it ends."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing

import pytest

from lmtui import paths, processes
from lmtui.cancellation import cancelled_when
from lmtui.errors import LmtuiError
from lmtui.learn.pretrain.client import pretrain
from lmtui.train.events import End, Event, PretrainStart, PretrainStep
from tests.learn.pretrain import tiny

WAITING = """
import os, sys, threading
from pathlib import Path
from lmtui.train.events import PretrainStep
from lmtui.train.process import run_process
from lmtui.train.run_folder import RunFolder

def wait(channel):
    channel.emit(PretrainStep(os.getpid(), 0.0, 0))
    threading.Event().wait()

run_process(RunFolder(Path(sys.argv[1])), wait)
"""
"""A process that tells its id as a step, and waits."""


@pytest.fixture(autouse=True)
def clean(home: object) -> None:
    """A home of its own."""


def waiting() -> Generator[Event]:
    return pretrain(tiny.request(), command=(sys.executable, "-c", WAITING))


def process_of(event: Event) -> int:
    assert isinstance(event, PretrainStep)
    return event.step


def test_closing_the_iterator_kills_the_process_and_leaves_no_folder() -> None:
    with closing(waiting()) as events:
        pid = process_of(next(events))
        assert processes.started(pid) is not None
        assert len(list(paths.runs_folder().iterdir())) == 1
    assert processes.started(pid) is None
    assert list(paths.runs_folder().iterdir()) == []


def test_cancellation_kills_the_process() -> None:
    seen: list[Event] = []
    with cancelled_when(lambda: bool(seen)):
        for event in waiting():
            seen.append(event)
    assert processes.started(process_of(seen[0])) is None


def test_too_small_a_text_is_refused_before_anything_starts() -> None:
    with pytest.raises(LmtuiError, match="too small"):
        next(pretrain(tiny.request("too little"), command=("/nowhere/python",)))


def test_real_process_trains_as_the_loop_does() -> None:
    asked = tiny.request("\ud800" + tiny.text(), steps=3)
    start, *steps, end = pretrain(asked)
    here_start, here = tiny.trained(asked)
    assert isinstance(start, PretrainStart) and start == here_start
    assert end == End("done", 3)
    there = [step for step in steps if isinstance(step, PretrainStep)]
    losses = [[x for step in steps for x in step.losses] for steps in (there, here)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert there[0].snapshot is not None and here[0].snapshot is not None
    assert there[0].snapshot.sample == here[0].snapshot.sample
