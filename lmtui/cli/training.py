"""A training from the shell, on a screen or without one: begun, followed, ended.

Owns the last words and the exit code. The screen and the lines are others'.
"""

from __future__ import annotations

from collections.abc import Sequence

import typer

from lmtui import busy, paths
from lmtui.cli.complete import new_writing
from lmtui.cli.edge import STOPPED, note
from lmtui.cli.following import Asked, asked_to_end, follow
from lmtui.cli.loading import OpenEngine
from lmtui.cli.output import Output
from lmtui.cli.screen import open_screen
from lmtui.cli.status_line import StatusLine
from lmtui.cli.training_view import (
    Gathered,
    JsonView,
    ProgressView,
    View,
    outcome_text,
    plan_text,
    sample_text,
    views_for,
)
from lmtui.errors import LmtuiError
from lmtui.settings import Settings
from lmtui.train.client import Training, history, resume_command
from lmtui.train.events import Event
from lmtui.train.request import Request
from lmtui.train.run_folder import RunFolder
from lmtui.tui.finetuning import Finetuning
from lmtui.tui.training_run import TrainingRun


def show_plan(request: Request, *, as_json: bool) -> int:
    """Show what would be done; the exit code.

    Raises:
        LmtuiError: it can't be done.
    """
    output, run = Output(), TrainingRun()
    views: list[View] = [Gathered(run)]
    status = StatusLine()
    views.append(JsonView(output) if as_json else ProgressView(status))
    with asked_to_end() as asked:
        worker = Training.start(request, plan_only=True)
        follow(worker, views, asked, say=status.lines)
    _raise_failure(run)
    if asked.times or run.plan is None:
        return asked.code
    if not as_json:
        output.text(plan_text(run.plan, run.skipped))
        output.text("\n" + sample_text(run.plan))
    return 0


def train(request: Request, *, resume: bool, as_json: bool) -> int:
    """Train without a screen; the exit code.

    Raises:
        LmtuiError: it failed.
    """
    run, status = TrainingRun(_earlier(request, resume=resume)), StatusLine()
    views = views_for(run, status, Output(), as_json=as_json)
    with asked_to_end() as asked:
        worker = Training.start(request, resume=resume, go=True)
        follow(worker, views, asked, say=status.lines)
    return _last_words(run, request.name, asked if asked.times else None)


def train_on_screen(
    request: Request,
    settings: Settings,
    *,
    resume: bool,
    no_color: bool,
    open_engine: OpenEngine | None,
) -> int:
    """Train on a screen until the user leaves it; the exit code.

    Raises:
        LmtuiError: it failed.
    """
    earlier = _earlier(request, resume=resume)
    run = TrainingRun(earlier)
    writing = new_writing(request.name, settings)
    worker = Training.start(request, resume=resume)
    finetuning = Finetuning(
        training=_Overheard(worker, run),
        name=request.name,
        adapters=paths.adapters_folder(),
        base=request.base,
        earlier=earlier,
        others=busy.others,
    )
    try:
        open_screen(
            settings,
            first="finetune",
            writing=writing,
            finetuning=finetuning,
            no_color=no_color,
            open_engine=open_engine,
        )
    except typer.Exit:  # by a signal
        if run.end is None:
            _end(worker, run)
        raise
    if run.end is None:
        _end(worker, run)
    return _last_words(run, request.name)


def _end(worker: Training, run: TrainingRun) -> None:
    """Wait for a training whose screen is gone: closed, or left before it was over."""
    status = StatusLine()
    with asked_to_end() as asked:
        if not worker.stopping:
            worker.stop()
        follow(worker, [Gathered(run)], asked, say=status.lines)


class _Overheard:
    """A training on a screen, whose events are needed afterwards, too."""

    def __init__(self, worker: Training, run: TrainingRun) -> None:
        self._worker, self._run = worker, run
        self.go, self.pause, self.resume = worker.go, worker.pause, worker.resume
        self.stop = worker.stop

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._worker.running

    def poll(self) -> Sequence[Event]:
        """What it told since the last call."""
        events = self._worker.poll()
        for event in events:
            self._run.take(event)
        return events


def _earlier(request: Request, *, resume: bool) -> Sequence[Event]:
    """What the part told that is gone on from; asked before the next part begins."""
    return history(RunFolder.named(request.name).path) if resume else ()


def _last_words(run: TrainingRun, name: str, asked: Asked | None = None) -> int:
    """Report the outcome; the exit code. `asked` where it was told to end."""
    _raise_failure(run)
    assert run.end is not None
    if run.end.finish in ("done", "early"):
        note(outcome_text(run, paths.adapters_folder()))
        return 0
    if run.end.finish == "declined" and asked is None:
        return 0
    saved = RunFolder.named(name).last_checkpoint
    if saved is None:
        note("stopped; there was nothing to save yet\n")
    else:
        note(f"stopped; saved at step {saved:,}\nresume with: {resume_command(name)}\n")
    return asked.code if asked else STOPPED


def _raise_failure(run: TrainingRun) -> None:
    if failed := run.failed:
        raise LmtuiError(failed.title, failed.detail, failed.hint)
