"""The training process (the worker), seen from the process that starts it.

Starts the worker in a session of its own, sends it commands, reads its events, and
reports a crash as `Failed`. The worker stops when its command pipe closes. Only `wait`
blocks. Knows no torch and no screen.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Literal

from lmtui import paths, processes
from lmtui.errors import LmtuiError, system_limit
from lmtui.train.events import End, Event, Failed, Saved, Start, Step, read_events
from lmtui.train.request import TrainRequest, versions
from lmtui.train.resolve import resume_command
from lmtui.train.run_folder import RunFolder

COMMAND: Sequence[str] = (*processes.MODULE, "lmtui.train")
"""The command that starts the worker, without its arguments."""

_QUOTED_LINES = 12  # of the log
_QUOTED_CHARACTERS = 2000


class WorkerProcess:
    """A running worker. Any thread may call it; calls are serialised."""

    def __init__(
        self, run: RunFolder, command: Sequence[str], stack: ExitStack
    ) -> None:
        """Start a command, with the run folder's path as its last argument; `stack` is
        closed when the process is over."""
        self._run = run
        # Kept open: the folder is removed at the end.
        self._events = stack.enter_context(run.new_events())
        self._process = _start([*command, str(run.path)], run)
        self._resources = stack.pop_all()
        self._partial_line = b""
        self._lock = RLock()
        self._stops = 0
        self._step = 0
        self._heard: set[type[Event]] = set()

    @classmethod
    def start(
        cls,
        request: TrainRequest,
        *,
        resume: bool = False,
        plan_only: bool = False,
        go: bool = False,
        command: Sequence[str] | None = None,
    ) -> WorkerProcess:
        """Start a training on notes with a request from `resolve`.

        With `go` the worker does not wait after the plan. With `plan_only` it ends
        after the plan, and its folder is temporary.
        """
        flags = {"--resume": resume, "--plan-only": plan_only, "--go": go}
        command = [*(command or COMMAND), *(flag for flag, on in flags.items() if on)]
        if plan_only:
            return cls.start_temporary(replace(request, versions=versions()), command)
        folder = RunFolder.named(request.name)
        if resume:
            # An older version may have left files that others can read.
            paths.make_all_private(folder.path)
        else:
            folder.remove()
            request = replace(request, versions=versions())
        folder.write(folder.request_file, request)
        with ExitStack() as stack:
            return cls(folder, command, stack)

    @classmethod
    def start_temporary(cls, request: object, command: Sequence[str]) -> WorkerProcess:
        """Start a command that trains in a temporary folder, which has the request."""
        runs = paths.ensure_folder(paths.runs_folder())
        with ExitStack() as stack:
            folder = RunFolder(stack.enter_context(paths.scratch_folder(runs)))
            folder.write(folder.request_file, request)
            return cls(folder, command, stack)

    @property
    def folder(self) -> Path:
        return self._run.path

    @property
    def stopping(self) -> bool:
        return self._stops > 0

    @property
    def began(self) -> bool:
        """Whether the worker has sent `Start`, so that there is something to save."""
        return Start in self._heard

    @property
    def running(self) -> bool:
        """Whether the process lives. Its last events may not be polled yet."""
        return self._process.poll() is None

    def poll(self) -> list[Event]:
        """Return the events since the last call; the last of all is always an `End`.

        An incomplete line waits for its rest. A process that died without an `End`
        yields `Failed` and `End`; one that was made to leave yields a stopped or
        declined `End`.
        """
        with self._lock:
            # Before the read, so that no event written at the end is missed.
            over = not self.running
            events = self._read()
            if over and End not in self._heard:
                events += self._missing_end()
            if over:
                self._clean_up()
            return events

    def go(self) -> None:
        self._send("go")

    def pause(self) -> None:
        self._send("pause")

    def resume(self) -> None:
        self._send("resume")

    def stop(self) -> None:
        """Tell the worker to finish the step, save and end.

        The second call, or one before the first step, kills it.
        """
        with self._lock:
            self._stops += 1
            if self._stops > 1 or not self.began:
                processes.kill(self._process)
        self._send("stop")

    def wait(self, timeout: float | None = None) -> bool:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _send(self, command: Literal["go", "pause", "resume", "stop"]) -> None:
        assert self._process.stdin is not None
        try:
            with self._lock:
                self._process.stdin.write(f"{command}\n".encode())
                self._process.stdin.flush()
        except (OSError, ValueError):
            pass  # the worker has ended; `poll` reports that

    def kill(self) -> None:
        """Kill the worker and its child processes, and clean up after it."""
        processes.kill(self._process)
        self.poll()

    def _read(self) -> list[Event]:
        if self._events.closed:
            return []
        data = self._partial_line + self._events.read()
        *lines, self._partial_line = data.split(b"\n")
        events = read_events(lines)
        for event in events:
            self._heard.add(type(event))
            match event:
                case Start():
                    self._step = event.resumed_from or 0
                case Step() | Saved():
                    self._step = event.step
        return events

    def _missing_end(self) -> list[Event]:
        self._heard.add(End)
        saved = self._run.last_checkpoint
        if self._stops and not self.began:
            return [End("declined", saved or 0)]
        if self._stops > 1:
            return [End("stopped", saved or 0)]
        end = End("failed", self._step)
        if Failed in self._heard:
            return [end]
        self._heard.add(Failed)
        ended = processes.how_it_ended(self._process.returncode)
        detail = "\n".join(filter(None, (ended, self._log_tail())))
        hint = f"All that it wrote is in {self._run.log_file}."
        if saved is not None:
            hint = f"Resume from the last checkpoint: {resume_command(self._run.name)}"
        return [Failed("the training ended unexpectedly", detail, hint), end]

    def _clean_up(self) -> None:
        self._resources.close()
        if Failed not in self._heard and self._run.last_checkpoint is None:
            self._run.remove()

    def _log_tail(self) -> str:
        try:
            text = self._run.log_file.read_text("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return "\n".join(lines[-_QUOTED_LINES:])[-_QUOTED_CHARACTERS:]


def _start(command: Sequence[str], run: RunFolder) -> subprocess.Popen[bytes]:
    try:
        with open(run.log_file, "wb", opener=paths.open_private) as log:
            return processes.begin(command, log)
    except OSError as error:
        raise system_limit(error) or LmtuiError(
            "the training can't be started",
            f"{command[0]} ({error.strerror})",
            "Install the program again, or free some memory.",
        ) from error
