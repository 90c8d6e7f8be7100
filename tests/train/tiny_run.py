"""The real worker at a tiny training, in a process that can be killed.

Such a process is forked off one that has imported all that takes long and computed
nothing, so that it begins at once.
"""

from __future__ import annotations

import errno
import gc
import importlib
import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from multiprocessing import forkserver
from pathlib import Path
from time import sleep
from typing import Any, BinaryIO, Literal
from unittest.mock import patch

from lmtui import paths
from lmtui.train.events import Event, read_events
from lmtui.train.request import TrainRequest
from lmtui.train.run_folder import RunFolder
from lmtui.train.settings import TrainSettings
from tests.models import tiny

NAME = "tiny"
_WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "ça va")
_LOADED = [
    "lmtui.train.run",
    "transformers.models.llama.modeling_llama",
    "tests.train.tiny_run",
]
_SERVER = forkserver.ForkServer()
"""A second one beside that of `tests.cli.forked`, which imports no torch."""
_NEUTRAL = 300  # characters of the neutral text
LOOKS = 0.005  # seconds between two looks at what was told


def notes(folder: Path, files: int = 12) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        words = random.Random(number).choices(_WORDS, k=60)
        (folder / f"note-{number}.md").write_text(" ".join(words) + "\n")
    return folder


def request(home: Path, **settings: Any) -> TrainRequest:
    """A training of a tiny model on such notes, all below `home`."""
    base = home / "base"
    if not base.exists():
        tiny.save_llama(base)
        notes(home / "notes")
    chosen: dict[str, Any] = {
        "block": 64, "batch": 2, "epochs": 2, "evaluations": 2, "rank": 4, "lr": 1e-2,
        "dtype": "float32",
    }  # fmt: skip
    return TrainRequest(
        name=NAME,
        places=(str(home / "notes"),),
        base=str(base),
        settings=TrainSettings(**chosen | settings),
        device="cpu",
        threads=1,
    )


@dataclass(frozen=True, slots=True)
class Mishap:
    """What happens in a process at the n-th call of a function: it is killed, the disk
    is full, or the function answers what is no number."""

    module: str
    function: str
    times: int
    what: Literal["killed", "disk", "nan"] = "killed"


@dataclass
class Child:
    run: RunFolder
    process: Any
    words: Any
    events: BinaryIO

    def say(self, word: str) -> None:
        os.write(self.words.fileno(), f"{word}\n".encode())

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)

    def wait(self) -> int:
        self.process.join(100)
        assert self.process.exitcode is not None
        return int(self.process.exitcode)

    def wait_for(self, enough: Callable[[list[Event]], bool]) -> list[Event]:
        """What it tells, until that is enough or it has ended."""
        while not enough(self.told()) and self.process.exitcode is None:
            sleep(LOOKS)
        return self.told()

    def told(self) -> list[Event]:
        """What it told so far, also when its folder is gone."""
        self.events.seek(0)
        return read_events(self.events.read().split(b"\n"))


@contextmanager
def started(
    asked: TrainRequest, *options: str, mishap: Mishap | None = None
) -> Iterator[Child]:
    """The worker of a request, which is ended at the end."""
    run = RunFolder.named(asked.name)
    run.write(run.request_file, asked)
    run.events_file.touch()
    events = run.events_file.open("rb")
    context = multiprocessing.get_context("forkserver")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(str(run.path), options, reader, str(paths.home()), mishap)
    )
    _SERVER.set_forkserver_preload(_LOADED)
    with patch.object(
        forkserver, "connect_to_new_process", _SERVER.connect_to_new_process
    ):
        process.start()
    reader.close()
    try:
        yield Child(run, process, writer, events)
    finally:
        if process.exitcode is None:
            process.kill()
        process.join()
        events.close()


def _work(
    folder: str, options: tuple[str, ...], words: Any, home: str, mishap: Mishap | None
) -> None:
    from lmtui.train import evaluate
    from lmtui.train.__main__ import run

    # Each collection of garbage would go through all that was imported, and copy it.
    gc.freeze()
    # What it writes and reads is tested elsewhere, and would take most of the time.
    evaluate.RECALLED, evaluate._RECALL, evaluate.CONTINUED = 1, 2, 2
    neutral = evaluate.neutral_text()[:_NEUTRAL]
    evaluate.neutral_text = lambda: neutral
    os.environ["LMTUI_HOME"] = home
    sys.stderr = open(Path(folder) / "worker.log", "a")  # noqa: SIM115 (as long as it)
    if mishap is not None:
        _arrange(mishap)
    chosen = {name: name in options for name in ("resume", "plan_only", "go")}
    sys.exit(run(RunFolder(Path(folder)), commands=words.fileno(), **chosen))


def _arrange(mishap: Mishap) -> None:
    owner: Any = importlib.import_module(mishap.module)
    real, calls = getattr(owner, mishap.function), count(1)

    def struck(*args: Any, **options: Any) -> Any:
        if next(calls) != mishap.times:
            return real(*args, **options)
        match mishap.what:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "disk":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **options) * float("nan")

    setattr(owner, mishap.function, struck)
