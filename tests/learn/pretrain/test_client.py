"""The pretraining process from outside: started, listened to, and however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lmtui import processes
from lmtui.cancellation import cancelled_when
from lmtui.errors import LmtuiError
from lmtui.learn.pretrain import loop
from lmtui.learn.pretrain.client import pretrain
from lmtui.learn.pretrain.events import Evaluated, Event, Finished, Snapshot, Stepped
from lmtui.train.events import Failed
from tests.learn.pretrain import tiny
from tests.test_text import obeyed

FAKE = Path(__file__).with_name("fake_process.py")
PATIENCE = 30.0  # seconds after which a test gives up


def scripted(
    script: str, data: str | bytes = tiny.text(), **given: Any
) -> Generator[Event]:
    """A pretraining by the scripted process."""
    options = tiny.options(seed=7)
    command = (sys.executable, str(FAKE), script)
    return pretrain(data, options, command=command, **given)


def process_of(event: Event) -> int:
    """The process id that the scripted process tells first."""
    assert isinstance(event, Evaluated)
    return event.step


def is_gone(pid: int) -> bool:
    """Whether a process ends soon."""
    give_up = time.monotonic() + PATIENCE
    while processes.started(pid) is not None:
        if time.monotonic() > give_up:
            return False
        time.sleep(0.005)
    return True


def test_events_arrive_and_the_last_one_ends_the_process() -> None:
    first, last = scripted("finish")
    assert last == Finished(1, 2.0, 3.0, 3.0, 1, 1.0)
    assert isinstance(first, Evaluated)
    assert first.seconds == len(tiny.text())  # the whole text was received
    assert first.loss == 7  # and the options
    assert processes.started(process_of(first)) is None


def test_text_larger_than_a_pipe_is_received() -> None:
    text = "é" * 600_000
    first = next(scripted("finish", text))
    assert isinstance(first, Evaluated)
    assert first.seconds == 1_200_000


def test_lone_surrogates_are_received() -> None:
    first = next(scripted("finish", "\ud800" * 1_000))
    assert isinstance(first, Evaluated)
    assert first.seconds == 3_000


def test_event_that_arrives_in_parts_is_whole() -> None:
    *_, last = scripted("split")
    assert last == Finished(1, 2.0, 3.0, 3.0, 1, 1.0)


@pytest.mark.parametrize("script", ["wait", "flood"])
def test_stop_kills_the_process(script: str) -> None:
    seen: list[Event] = []
    with cancelled_when(lambda: bool(seen)):
        for event in scripted(script):
            seen.append(event)
            assert len(seen) < 10_000
    assert processes.started(process_of(seen[0])) is None


@pytest.mark.parametrize("script", ["wait", "flood"])
def test_closing_the_iterator_kills_the_process(script: str) -> None:
    with closing(scripted(script)) as events:
        pid = process_of(next(events))
        assert processes.started(pid) is not None
    assert processes.started(pid) is None


def test_stop_before_the_first_event_ends_the_iterator() -> None:
    with cancelled_when(lambda: True):
        assert list(scripted("wait")) == []


PARENT = """
import sys
from lmtui.learn.pretrain.client import pretrain
events = pretrain("x" * 5000, command=(sys.executable, {fake!r}, {script!r}))
print(next(events).step, flush=True)
import threading
threading.Event().wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("script", ["wait", "flood"])
def test_end_of_the_parent_ends_the_process(script: str, number: int) -> None:
    code = PARENT.format(fake=str(FAKE), script=script)
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert processes.started(pid) is not None
        parent.send_signal(number)
        assert parent.wait(PATIENCE) != 0
    assert is_gone(pid)


def test_signal_ends_the_process() -> None:
    events = scripted("wait")
    os.kill(process_of(next(events)), signal.SIGTERM)
    (failed,) = events
    assert isinstance(failed, Failed)


@pytest.mark.parametrize(
    ("script", "failed"),
    [
        ("refuse", Failed("the title", "the detail", "The hint.")),
        ("memory", Failed("out of memory", "", "Close other programs.")),
    ],
)
def test_error_is_the_last_event(script: str, failed: Failed) -> None:
    first, last = scripted(script)
    assert last == failed
    assert processes.started(process_of(first)) is None


def test_bug_is_one_event_in_plain_words() -> None:
    _, failed = scripted("bug")
    assert isinstance(failed, Failed)
    assert failed.title == "unexpected error"
    assert failed.detail == "ZeroDivisionError: of nothing"


@pytest.mark.parametrize(
    ("script", "words"),
    [("die", "the system killed it"), ("leave", "it ended with code 3")],
)
def test_crash_is_reported(script: str, words: str) -> None:
    _, failed = scripted(script)
    assert isinstance(failed, Failed)
    assert failed.title == "the training ended unexpectedly"
    assert words in failed.detail
    assert not obeyed(failed.detail) - {"\n"}
    if script == "die":
        assert "its last" in failed.detail


def test_process_that_reads_nothing_is_reported() -> None:
    (failed,) = scripted("deaf", b"x" * 1_000_000)
    assert isinstance(failed, Failed)
    assert "it ended with code 4" in failed.detail


def test_command_that_is_missing_is_an_error() -> None:
    with pytest.raises(LmtuiError, match="can't be started"):
        list(pretrain(tiny.text(), command=("/nowhere/python",)))


def test_too_small_a_text_is_refused_before_anything_starts() -> None:
    with pytest.raises(LmtuiError, match="too small"):
        pretrain("too little", command=("/nowhere/python",))


def test_real_process_trains_as_the_loop_does() -> None:
    options = tiny.options(steps=3)
    there = list(pretrain(tiny.text(), options))
    here = list(loop.events(tiny.text(), options))
    assert isinstance(there[-1], Finished), there[-1]
    assert there[0] == here[0]
    assert losses(there) == pytest.approx(losses(here), abs=1e-4)
    shots = [[e for e in events if isinstance(e, Snapshot)] for events in (there, here)]
    assert shots[0][0].rows[0].prompt == shots[1][0].rows[0].prompt
    assert shots[0][0].sample == shots[1][0].sample


def losses(events: list[Event]) -> list[float]:
    return [
        loss for event in events if isinstance(event, Stepped) for loss in event.losses
    ]
