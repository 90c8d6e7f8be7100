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


def test_wait_for_go_waits_for_the_go_command(commands: WorkerControl) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    writer.write(b"nonsense\ngo\n")
    assert commands.wait_for_go()
    writer.close()


def test_end_of_commands_counts_as_one_stop(
    commands: WorkerControl, left: Left
) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    writer.write(b"resume")
    writer.close()
    assert not commands.wait_for_go()
    assert commands.stopping()
    assert not left.times


def test_end_of_commands_after_a_stop_is_no_second_stop(
    commands: WorkerControl, left: Left
) -> None:
    reader, writer = pipe()
    before = {*threading.enumerate()}
    commands.listen(reader)
    writer.write(b"stop\n")
    writer.close()
    assert not commands.wait_for_go()
    for thread in {*threading.enumerate()} - before:
        thread.join(10)
    assert not left.times


def test_second_stop_leaves_at_once(commands: WorkerControl, left: Left) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    writer.write(b"stop\nstop\n")
    assert left.event.wait(10)
    writer.close()


def test_stop_before_anything_to_save_leaves_at_once(left: Left) -> None:
    commands = WorkerControl(left)
    commands.say("go")
    assert not left.times
    commands.say("stop")
    assert left.times


def test_signals_count_as_stops(commands: WorkerControl, left: Left) -> None:
    reader, writer = pipe()
    commands.listen(reader)
    os.kill(os.getpid(), signal.SIGTERM)
    assert not commands.wait_for_go()
    os.kill(os.getpid(), signal.SIGINT)
    assert left.event.wait(10)
    writer.close()


def test_pause_ends_on_resume_or_stop(commands: WorkerControl) -> None:
    for word in ("resume", "stop"):
        commands.say("pause")
        assert commands.pausing
        waiting = threading.Thread(target=commands.wait_for_resume)
        waiting.start()
        commands.say(word)
        waiting.join(10)
        assert not waiting.is_alive()
        assert not commands.pausing
