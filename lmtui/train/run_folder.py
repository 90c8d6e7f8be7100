"""The folder of a training that is not finished.

Owns where everything in it lies, which of its checkpoints count, who holds it, and
which names are taken. Every file of it but the event and log lines is written whole or
not at all. Knows neither the worker nor who watches it, and no weights.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from lmtui import paths
from lmtui.errors import LmtuiError
from lmtui.train import request as requests
from lmtui.train.events import Doing, End, Event, Failed, Paused, Start, read_events
from lmtui.train.request import TrainRequest

COMPLETE = "complete.json"
"""The file of a checkpoint that is written last: each other file with its size."""

_BEFORE = "checkpoint-"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The notes that a training began with."""

    root: str
    files: Mapping[str, str]
    """SHA-256 of each file, by its path from the root on."""
    documents: int
    held_out: tuple[str, ...]
    """Paths of the documents that are kept from training."""

    def changes(self, now: Manifest) -> tuple[str, ...]:
        """What became of the notes until `now`, each in a few words."""
        before, after = self.files, now.files
        return (
            *(f"changed: {p}" for p in before if p in after and before[p] != after[p]),
            *(f"gone: {path}" for path in before if path not in after),
            *(f"new: {path}" for path in after if path not in before),
        )


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder, which need not exist."""

    path: Path

    @classmethod
    def named(cls, name: str) -> RunFolder:
        """The run folder of a training of this name."""
        return cls(paths.runs_folder() / name)

    @property
    def name(self) -> str:
        """Its name, which is that of the training."""
        return self.path.name

    @property
    def events_file(self) -> Path:
        """What the worker told, a line each; only ever longer."""
        return self.path / "events.jsonl"

    @property
    def log_file(self) -> Path:
        """What the worker and its libraries wrote beside that."""
        return self.path / "worker.log"

    @property
    def checkpoints_folder(self) -> Path:
        """The checkpoints, complete or not."""
        return self.path / "checkpoints"

    @property
    def best_folder(self) -> Path:
        """The weights of the best evaluation."""
        return self.path / "best"

    @property
    def adapter_folder(self) -> Path:
        """The adapter while it is built."""
        return self.path / "adapter"

    # Its request and its notes.

    def read_request(self) -> TrainRequest:
        """The request that it was made for.

        Raises:
            LmtuiError: it can't be read.
        """
        file = self._request_file
        try:
            return requests.from_json(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LmtuiError(
                "this training can't be resumed",
                f"{file}: {error}",
                f"Start again with --overwrite, or remove the folder {self.path}.",
            ) from error

    def write_request(self, request: TrainRequest) -> None:
        """Keep the request; the folder is made.

        Raises:
            LmtuiError: it can't be written.
        """
        self._write(self._request_file, requests.to_json(request))

    def read_manifest(self) -> Manifest | None:
        """The notes it began with; None where that is not known."""
        try:
            values = json.loads(self._manifest_file.read_text(encoding="utf-8"))
            held_out = tuple(values.pop("held_out"))
            return Manifest(**values, held_out=held_out)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Keep which notes it began with.

        Raises:
            LmtuiError: it can't be written.
        """
        self._write(self._manifest_file, json.dumps(asdict(manifest), indent=1))

    @property
    def _request_file(self) -> Path:
        return self.path / "request.json"

    @property
    def _manifest_file(self) -> Path:
        return self.path / "manifest.json"

    def _write(self, file: Path, text: str) -> None:
        folder = paths.ensure_folder(self.path)
        try:
            paths.write_atomically(file, text.encode("ascii"))
        except OSError as error:
            raise paths.unwritable(folder, error) from error

    # Its checkpoints.

    def checkpoint(self, step: int) -> Path:
        """The folder of the checkpoint of a step."""
        return self.checkpoints_folder / f"{_BEFORE}{step}"

    def checkpoints(self) -> tuple[int, ...]:
        """The steps of the complete checkpoints, the last one last."""
        steps = (
            int(folder.name.removeprefix(_BEFORE))
            for folder in _folders(self.checkpoints_folder)
            if folder.name.removeprefix(_BEFORE).isdecimal() and is_complete(folder)
        )
        return tuple(sorted(steps))

    @property
    def last_checkpoint(self) -> int | None:
        """The step it can be resumed from; None where there is none."""
        return max(self.checkpoints(), default=None)

    # Its events.

    def history(self) -> list[Event]:
        """What an earlier part of the training told, as far as it still counts: not
        what came after the checkpoint that it is, or would be, resumed from."""
        try:
            text = self.events_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return []
        kept: list[Event] = []
        for event in read_events(text):
            if isinstance(event, Start) and event.resumed_from is not None:
                kept = _until(event.resumed_from, kept)
            kept.append(event)
        return _until(self.last_checkpoint or 0, kept)

    def new_events(self) -> BinaryIO:
        """The file of the events, at the end of what was told before: half a line that
        a killed worker has left there is taken away.

        Raises:
            LmtuiError: it can't be opened.
        """
        try:
            file = open(self.events_file, "a+b", opener=paths.open_private)  # noqa: SIM115
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
        except OSError as error:
            raise paths.unwritable(self.path, error) from error
        return file

    # Who holds it.

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for as long as the process trains in it.

        Raises:
            LmtuiError: another process does.
        """
        with open(self._lock_file, "w", opener=paths.open_private) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise in_use(self.name) from error
            except OSError:
                pass  # a file system without locks: nothing can be known
            yield

    @property
    def in_use(self) -> bool:
        """Whether a process trains in it now."""
        try:
            with self._lock_file.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # never held, or on a file system without locks
            return False
        return False

    @property
    def _lock_file(self) -> Path:
        return self.path / "lock"

    def remove(self) -> None:
        """Remove it with everything in it.

        Raises:
            LmtuiError: it can't be.
        """
        try:
            shutil.rmtree(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise paths.unwritable(self.path, error) from error


def unfinished() -> tuple[RunFolder, ...]:
    """Trainings that can be resumed, by name; those that run are not among them."""
    runs = map(RunFolder, _folders(paths.runs_folder()))
    return tuple(
        run
        for run in runs
        if not run.name.startswith(".")
        and run.last_checkpoint is not None
        and not run.in_use
    )


def in_use(name: str) -> LmtuiError:
    """The error for a training that another process is at."""
    return LmtuiError(
        "this training is running already",
        name,
        "Wait for it, stop it where it runs, or give another --name.",
    )


def mark_complete(checkpoint: Path) -> None:
    """Make a checkpoint count, once all its files are on the disk."""
    paths.make_all_private(checkpoint)  # what libraries have written, too
    sizes = {}
    for file in sorted(checkpoint.rglob("*")):
        if file.is_file() and file.name != COMPLETE:
            with file.open("rb") as content:
                os.fsync(content.fileno())
            sizes[file.relative_to(checkpoint).as_posix()] = file.stat().st_size
    data = json.dumps(sizes, indent=1).encode("ascii")
    paths.write_atomically(checkpoint / COMPLETE, data)
    paths.sync_folder(checkpoint.parent)


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end, and nothing of it is missing."""
    try:
        sizes = json.loads((checkpoint / COMPLETE).read_bytes())
        found = ((checkpoint / name).stat().st_size for name in sizes)
        return bool(sizes) and list(sizes.values()) == list(found)
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def _until(step: int, events: list[Event]) -> list[Event]:
    """The events up to the end of a step, without what was true only then."""
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
