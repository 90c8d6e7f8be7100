"""The worker from outside: started, told, listened to, and however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.train import client
from lmtui.train.client import WorkerProcess
from lmtui.train.events import (
    End,
    Eval,
    Event,
    Failed,
    Plan,
    Saved,
    Skip,
    Start,
    Step,
    Warned,
)
from lmtui.train.request import TrainRequest, versions
from lmtui.train.resolve import resume_command
from lmtui.train.run_folder import RunFolder
from lmtui.train.settings import TrainSettings

WORKER = Path(__file__).with_name("fake_worker.py")
REQUEST = TrainRequest("notes", ("/notes",))
PATIENCE = 30.0  # seconds after which a test gives up


def command(**script: Any) -> tuple[str, ...]:
    return (sys.executable, str(WORKER), json.dumps(script))


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """Start a training with a scripted worker; it is killed where it still runs."""
    started: list[WorkerProcess] = []

    def begin(request: TrainRequest = REQUEST, **given: Any) -> WorkerProcess:
        options = {
            name: given.pop(name)
            for name in ("resume", "plan_only", "go")
            if name in given
        }
        training = WorkerProcess.start(request, command=command(**given), **options)
        started.append(training)
        return training

    yield begin
    for training in started:
        while training.running:
            training.stop()
            training.poll()


def heard_until(
    training: WorkerProcess, done: Callable[[list[Event]], bool]
) -> list[Event]:
    """What a training tells until that is enough."""
    heard: list[Event] = []
    give_up = time.monotonic() + PATIENCE
    while not done(heard):
        assert time.monotonic() < give_up, heard
        heard += training.poll()
        training.wait(0.01)
    return heard


def over(heard: list[Event]) -> bool:
    return bool(heard) and isinstance(heard[-1], End)


def planned(heard: list[Event]) -> bool:
    return any(isinstance(event, Plan) for event in heard)


def at_step(number: int) -> Callable[[list[Event]], bool]:
    return lambda heard: number in steps(heard)


def steps(heard: list[Event]) -> list[int]:
    return [event.step for event in heard if isinstance(event, Step)]


def test_worker_reports_events_from_plan_to_end(
    start: Callable[..., WorkerProcess], home: Path
) -> None:
    settings = TrainSettings(method="full")
    asked = TrainRequest("notes", ("/x",), settings=settings, threads=2)
    training = start(asked, skips=["a.bin"])
    heard = heard_until(training, planned)
    written = RunFolder(training.folder).read_request()
    assert written == replace(asked, versions=versions())
    assert {"lmtui", "torch"} <= set(written.versions)
    pid = training._process.pid
    assert os.getsid(pid) == pid  # no signals of the terminal
    assert Skip("a.bin", "it is binary") in heard
    assert training.running
    training.go()
    heard = heard_until(training, over)
    assert heard[0] == Start("notes", 4)
    assert steps(heard) == [1, 2, 3, 4]
    assert [event.step for event in heard if isinstance(event, Eval)] == [0, 2, 4]
    assert heard[-1] == End("done", 4, "notes", 4, "better on your notes")
    assert training.wait(PATIENCE)
    assert training.poll() == []
    assert not training.running
    # Its last words were heard although its folder is gone.
    assert not training.folder.exists()


def test_plan_that_is_not_followed_leaves_no_run_folder(
    start: Callable[..., WorkerProcess],
) -> None:
    training = start(plan_only=True)
    heard = heard_until(training, over)
    assert planned(heard)
    assert heard[-1] == End("declined", 0)
    declined = start()
    heard_until(declined, planned)
    declined.stop()
    assert isinstance(heard_until(declined, over)[-1], End)
    for ended in (training, declined):
        assert ended.wait(PATIENCE)
        ended.poll()
    assert list(paths.runs_folder().iterdir()) == []


def test_stopped_training_resumes_from_its_checkpoint(
    start: Callable[..., WorkerProcess],
) -> None:
    training = start(go=True, hold=4)
    heard_until(training, at_step(3))
    training.stop()
    heard = heard_until(training, over)
    assert heard == [Saved(3), End("stopped", 3)]
    assert training.wait(PATIENCE)
    training.poll()
    assert steps(RunFolder(training.folder).history()) == [1, 2, 3]
    heard = heard_until(start(resume=True, go=True), over)
    assert Start("notes", 4, resumed_from=3) in heard
    assert steps(heard) == [4]
    heard = heard_until(start(go=True), over)  # begins anew
    assert Start("notes", 4) in heard
    assert steps(heard) == [1, 2, 3, 4]


def test_worker_that_ignores_stops_is_killed(
    start: Callable[..., WorkerProcess],
) -> None:
    training = start(go=True, deaf=True, hold=4)
    heard_until(training, at_step(3))
    training.stop()
    training.stop()
    assert heard_until(training, over) == [End("stopped", 2)]


def test_unfinished_event_line_waits_for_its_end(
    start: Callable[..., WorkerProcess],
) -> None:
    training = start(go=True, hold=3)
    heard_until(training, lambda heard: Saved(2) in heard)
    line = b'{"event":"warning","text":"caf\xc3\xa9"}\n'
    file = RunFolder(training.folder).events_file
    for cut in (20, len(line) - 3, len(line) - 1):  # within a word, a character, a line
        with file.open("ab") as events:
            events.write(line[:cut])
        assert training.poll() == []
        with file.open("ab") as events:
            events.write(line[cut:])
        assert training.poll() == [Warned("café")]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit", "it ended with code 3"),
        ("quiet", "it ended with code 0"),
        ("torn", "the system killed it, which it does when memory runs out"),
    ],
)
def test_dead_worker_is_reported_as_failed(
    start: Callable[..., WorkerProcess], how: str, words: str
) -> None:
    training = start(go=True, die=how, die_at=3)
    *_, failed, end = heard_until(training, over)
    assert isinstance(failed, Failed)
    assert failed.detail.splitlines()[0] == words
    assert "RuntimeError: the very last line" in failed.detail or how == "quiet"
    assert resume_command("notes") in failed.hint
    assert end == End("failed", 3)
    assert training.poll() == []
    if how == "torn":  # the line that was cut short does no harm
        heard = heard_until(start(resume=True, go=True), over)
        assert Start("notes", 4, resumed_from=2) in heard
        assert steps(heard) == [3, 4]


def test_worker_that_dies_at_once_leaves_its_log(
    start: Callable[..., WorkerProcess],
) -> None:
    training = WorkerProcess.start(REQUEST, command=(sys.executable, "-c", "1/0"))
    failed, end = heard_until(training, over)
    assert isinstance(failed, Failed)
    assert failed.detail.endswith("ZeroDivisionError: division by zero")
    assert end == End("failed", 0)
    log = RunFolder(training.folder).log_file
    assert str(log) in failed.hint
    assert "ZeroDivisionError" in log.read_text()


def test_worker_that_cannot_be_started_is_an_error(home: Path) -> None:
    with pytest.raises(LmtuiError, match="can't be started"):
        WorkerProcess.start(REQUEST, command=("/no/such/program",))


def test_the_worker_stops_when_its_client_is_killed(home: Path) -> None:
    code = (
        "import sys\n"
        "from lmtui.train.client import WorkerProcess\n"
        "from lmtui.train.request import TrainRequest\n"
        "request = TrainRequest('notes', ('/x',))\n"
        f"kept = WorkerProcess.start(request, go=True, command={command(hold=3)!r})\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as parent:
        run = RunFolder.named("notes")
        wait_for(lambda: run.last_checkpoint == 2)
        parent.send_signal(signal.SIGKILL)
    wait_for(lambda: not run.in_use)
    assert run.last_checkpoint == 2
    assert b'"finish": "stopped"' in run.events_file.read_bytes()


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up
        os.sched_yield()


def test_python_files_beside_the_notes_are_not_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise RuntimeError('ran a note')")
    monkeypatch.chdir(tmp_path)
    words = (*client.COMMAND[:-2], "-c", "import json, lmtui; print(json.__file__)")
    training = WorkerProcess.start(REQUEST, command=words)
    heard_until(training, over)
    log = RunFolder(training.folder).log_file.read_text()
    assert "ran a note" not in log
    assert log.endswith("json/__init__.py\n")
