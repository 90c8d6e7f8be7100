"""The folder of an unfinished training: its paths, records, checkpoints, events, lock.

Files are written atomically, except the lines of events and log. Knows neither the
worker nor its observers, and no weights.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from lmtui import paths, records
from lmtui.errors import LmtuiError
from lmtui.train.events import (
    Doing,
    End,
    Event,
    Failed,
    Paused,
    Start,
    read_events,
)
from lmtui.train.request import TrainRequest

_BEFORE = "checkpoint-"

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The notes that a training began with."""

    root: str
    files: Mapping[str, str]
    """SHA-256 of each file, by its path relative to the root."""
    documents: int
    held_out: tuple[str, ...]
    """Paths of the held-out documents."""

    def changes(self, now: Manifest) -> tuple[str, ...]:
        """Return the changes of the notes until `now`, each in a few words."""
        before, after = self.files, now.files
        return (
            *(f"changed: {p}" for p in before if p in after and before[p] != after[p]),
            *(f"gone: {path}" for path in before if path not in after),
            *(f"new: {path}" for path in after if path not in before),
        )


class RunFolder:
    """The folder of an unfinished training, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        self.events_file = path / "events.jsonl"
        """The worker's events, one a line; append-only."""
        self.log_file = path / "worker.log"
        """Other output of the worker and its libraries."""
        self.checkpoints_folder = path / "checkpoints"
        """The folder of the checkpoints, each of which is complete."""
        self.best_folder = path / "best"
        """The folder of the best evaluation's weights."""
        self.adapter_folder = path / "adapter"
        """The folder in which the adapter is built."""
        self.request_file = path / "request.json"
        self.manifest_file = path / "manifest.json"
        """The notes that the training began with."""
        self.baseline_file = path / "before.json"
        """The evaluation of the model before the first step."""
        self._lock_file = path / "lock"

    @classmethod
    def named(cls, name: str) -> RunFolder:
        return cls(paths.runs_folder() / name)

    # Records as JSON.

    def read_request(self) -> TrainRequest:
        return self.read(self.request_file, TrainRequest)

    def read_manifest(self) -> Manifest | None:
        """Return the notes that the training began with; None where they are
        unknown."""
        try:
            return self.read(self.manifest_file, Manifest)
        except LmtuiError:
            return None

    def read(self, file: Path, kind: type[_Record]) -> _Record:
        """Return the record that `write` wrote into a file."""
        hint = f"Start again with --overwrite, or remove the folder {self.path}."
        return records.read(
            file, kind, title="this training can't be resumed", hint=hint
        )

    def write(self, file: Path, record: object) -> None:
        folder = paths.ensure_folder(self.path)
        try:
            records.write(file, record)
        except OSError as error:
            raise paths.unwritable(folder, error) from error

    # Checkpoints.

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints_folder / f"{_BEFORE}{step}"

    def checkpoints(self) -> tuple[int, ...]:
        """Return the steps of the checkpoints, in ascending order."""
        steps = (
            int(folder.name.removeprefix(_BEFORE))
            for folder in _folders(self.checkpoints_folder)
            if folder.name.removeprefix(_BEFORE).isdecimal()
        )
        return tuple(sorted(steps))

    @property
    def last_checkpoint(self) -> int | None:
        """The step that the training can be resumed from; None where there is none."""
        return max(self.checkpoints(), default=None)

    # Events.

    def history(self) -> list[Event]:
        """Return the events of earlier parts of the training that still count.

        Events after the checkpoint that the training was, or would be, resumed from are
        left out.
        """
        try:
            lines = self.events_file.read_bytes().split(b"\n")
        except OSError:
            return []
        events: list[Event] = []
        for event in read_events(lines):
            if isinstance(event, Start) and event.resumed_from is not None:
                events = _until(event.resumed_from, events)
            events.append(event)
        return _until(self.last_checkpoint or 0, events)

    def new_events(self) -> BinaryIO:
        """Open the events file for appending.

        An incomplete last line, left by a killed worker, is removed."""
        try:
            file = open(self.events_file, "a+b", opener=paths.open_private)  # noqa: SIM115
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
        except OSError as error:
            raise paths.unwritable(self.path, error) from error
        return file

    # Lock.

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock for as long as the process trains in it."""
        with open(self._lock_file, "w", opener=paths.open_private) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise in_use(self.name) from error
            except OSError:
                pass  # the file system has no locks: train without one
            yield

    @property
    def in_use(self) -> bool:
        try:
            with self._lock_file.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # never held, or on a file system without locks
            return False
        return False

    def remove(self) -> None:
        try:
            shutil.rmtree(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise paths.unwritable(self.path, error) from error


def unfinished() -> tuple[RunFolder, ...]:
    """Return the trainings that can be resumed, sorted by name; running ones are left
    out."""
    runs = map(RunFolder, _folders(paths.runs_folder()))
    return tuple(
        run
        for run in runs
        if not run.name.startswith(".")
        and run.last_checkpoint is not None
        and not run.in_use
    )


def in_use(name: str) -> LmtuiError:
    return LmtuiError(
        "this training is running already",
        name,
        "Wait for it, stop it where it runs, or give another --name.",
    )


def _until(step: int, events: list[Event]) -> list[Event]:
    """Return the events up to a step's end, without those about a moment only."""
    passing = Doing | Paused | Failed | End
    return [
        event
        for event in events
        if getattr(event, "step", 0) <= step and not isinstance(event, passing)
    ]


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(folder for folder in parent.iterdir() if folder.is_dir())
    except OSError:
        return []
