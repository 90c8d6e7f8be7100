"""The process that trains: commands and signals, and what they change."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from lmtui.train import process
from lmtui.train.events import End, Failed, read_events
from lmtui.train.process import Channel, run_process
from lmtui.train.run_folder import RunFolder


class Listener:
    """A channel, the pipe that it reads commands from, and whether it would have left
    the process."""

    def __init__(self) -> None:
        self.file = BytesIO()
        self.channel = Channel(self.file)
        self.reader, writer = os.pipe()
        self.writer = os.fdopen(writer, "wb", buffering=0)
        self.left = threading.Event()
        self.before = {*threading.enumerate()}

    def hear(self, *commands: str) -> None:
        self.channel.listen(self.reader)
        self.writer.write("".join(f"{command}\n" for command in commands).encode())

    def close(self) -> None:
        """End the commands, and wait until that is noticed."""
        self.writer.close()
        for thread in {*threading.enumerate()} - self.before:
            thread.join(10)

    @property
    def events(self) -> list[Any]:
        return read_events(self.file.getvalue().split(b"\n"))


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    made = Listener()
    monkeypatch.setattr(process.os, "_exit", lambda _: made.left.set())
    yield made
    made.close()
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_wait_for_go_waits_for_the_go_command(listener: Listener) -> None:
    listener.hear("nonsense", "go")
    listener.channel.wait_for_go()
    assert not listener.channel.stopping()


@pytest.mark.parametrize("commands", [["resume"], ["stop"]])
def test_end_of_commands_counts_as_a_stop_but_not_as_a_second_one(
    listener: Listener, commands: list[str]
) -> None:
    listener.channel.save_first()
    listener.hear(*commands)
    listener.close()
    assert listener.channel.stopping()
    assert not listener.left.is_set()


@pytest.mark.parametrize("commands", [["stop", "stop"], ["go", "stop"]])
def test_second_stop_or_one_with_nothing_to_save_leaves_at_once(
    listener: Listener, commands: list[str]
) -> None:
    if commands[0] == "stop":
        listener.channel.save_first()
    listener.hear(*commands)
    assert listener.left.wait(10)


def test_signals_count_as_stops(listener: Listener) -> None:
    listener.channel.save_first()
    listener.hear()
    os.kill(os.getpid(), signal.SIGTERM)
    assert listener.channel.stopping()
    os.kill(os.getpid(), signal.SIGINT)
    assert listener.left.wait(10)


def test_pause_ends_on_resume_or_stop(listener: Listener) -> None:
    channel = listener.channel
    channel.save_first()
    for command in ("resume", "stop"):
        channel.obey("pause")
        assert channel.pausing
        waiting = threading.Thread(target=channel.wait_for_resume)
        waiting.start()
        channel.obey(command)
        waiting.join(10)
        assert not waiting.is_alive()
        assert not channel.pausing


@pytest.mark.parametrize(
    ("error", "title", "words"),
    [
        (ZeroDivisionError("of nothing"), "unexpected error", "ZeroDivisionError: of"),
        (MemoryError(), "out of memory", "--block, --batch or --rank"),
        (RuntimeError("CUDA out of memory"), "out of memory", "CUDA"),
        (OSError(errno.ENOSPC, "No space"), "the disk is full", "Free some space"),
    ],
)
def test_error_of_any_kind_is_an_event_in_plain_words(
    listener: Listener,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    title: str,
    words: str,
) -> None:
    def work(channel: Channel) -> End:
        raise error

    run = RunFolder(tmp_path)
    assert run_process(run, work, commands=listener.reader) == 1
    failed, end = read_events(run.events_file.read_bytes().split(b"\n"))
    assert isinstance(failed, Failed)
    assert failed.title == title
    assert words in f"{failed.detail} {failed.hint}"
    assert end == End("failed", 0)
    is_bug = title == "unexpected error"
    assert ("Traceback" in capsys.readouterr().err) == is_bug


def test_run_folder_in_use_is_left_alone(
    listener: Listener, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path)
    with run.locked():
        assert run_process(run, lambda _: End("done", 1), commands=listener.reader) == 1
    assert not run.events_file.exists()
    assert "this training is running already" in capsys.readouterr().err
