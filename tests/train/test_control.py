"""Words and signals, and what they change."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import BinaryIO

import pytest

from lmtui.train.control import WorkerControl


class Left:
    """Notes that the process would have left."""

    def __init__(self) -> None:
        self.times = 0
        self.event = threading.Event()

    def __call__(self) -> None:
        self.times += 1
        self.event.set()


@pytest.fixture
def left() -> Left:
    return Left()


@pytest.fixture
def commands(left: Left) -> Iterator[WorkerControl]:
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    found = WorkerControl(left)
    found.save_first()
    yield found
    for number, handler in handlers.items():
        signal.signal(number, handler)


def pipe() -> tuple[int, BinaryIO]:
    reader, writer = os.pipe()
    return reader, os.fdopen(writer, "wb", buffering=0)


def test_it_waits_until_it_is_told_to_go(commands: WorkerControl) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    writer.write(b"nonsense\ngo\n")
    assert commands.wait_for_go()
    writer.close()


def test_the_end_of_the_words_is_one_stop(commands: WorkerControl, left: Left) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    writer.write(b"resume")
    writer.close()
    assert not commands.wait_for_go()
    assert commands.stopping()
    assert not left.times


def test_the_end_after_a_stop_is_no_second_one(
    commands: WorkerControl, left: Left
) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    writer.write(b"stop\n")
    writer.close()
    assert not commands.wait_for_go()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(1)
    assert not left.times


def test_a_second_stop_leaves(commands: WorkerControl, left: Left) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    writer.write(b"stop\nstop\n")
    assert left.event.wait(10)
    writer.close()


def test_before_there_is_something_to_save_one_stop_leaves(left: Left) -> None:
    commands = WorkerControl(left)
    commands.say("go")
    assert not left.times
    commands.say("stop")
    assert left.times


def test_signals_are_stops(commands: WorkerControl, left: Left) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    os.kill(os.getpid(), signal.SIGTERM)
    assert not commands.wait_for_go()
    os.kill(os.getpid(), signal.SIGINT)
    assert left.event.wait(10)
    writer.close()


def test_a_pause_ends_by_going_on_or_by_a_stop(commands: WorkerControl) -> None:
    for word in ("resume", "stop"):
        commands.say("pause")
        assert commands.pausing
        waiting = threading.Thread(target=commands.wait_for_resume)
        waiting.start()
        commands.say(word)
        waiting.join(10)
        assert not waiting.is_alive()
        assert not commands.pausing
