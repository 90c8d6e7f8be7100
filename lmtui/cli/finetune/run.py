"""Run a training from the shell: its events as lines, JSON, or on a screen.

Starts the worker process, forwards signals to it, and reports the outcome.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import current_thread, main_thread

from lmtui import notation, paths, records
from lmtui.cli.engine import OpenEngine
from lmtui.cli.errors import STOPPED, note
from lmtui.cli.output import Output
from lmtui.cli.progress import ProgressLine
from lmtui.cli.screen import open_screen
from lmtui.config.settings import Settings
from lmtui.errors import LmtuiError
from lmtui.notation import lasting
from lmtui.text import visible_line
from lmtui.train.client import WorkerProcess
from lmtui.train.events import Doing, End, Event, Failed, Plan, Skip, Step, to_fields
from lmtui.train.report import Report, to_lines
from lmtui.train.request import TrainRequest
from lmtui.train.resolve import Decision, resume_command
from lmtui.train.run_folder import RunFolder
from lmtui.tui.finetune.format import describe_event, doing_words, home_path
from lmtui.tui.finetune.panes import facts_of, sample_of
from lmtui.tui.finetune.run import Finetuning, TrainingRun
from lmtui.tui.finetune.screen import report_file
from lmtui.tui.widgets.paragraphs import Paragraph

EVERY = 0.1
"""Seconds between two polls of the worker."""

_STEP_LINES = 50  # lines for the steps of a training, where they are lines

LAST = 10.0
"""Seconds that the worker may take to exit after its last event."""

SAVING = "finishing the step and saving; Ctrl-C again leaves at once\n"
LEAVING = "stopping; nothing was trained\n"

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stop_signals() -> Iterator[Sequence[int]]:
    """Yield the numbers of SIGINT, SIGTERM and SIGHUP as they come; ignored ones stay
    so, as under nohup."""
    numbers: list[int] = []
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    if current_thread() is not main_thread():
        before = {}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: numbers.append(number))
    try:
        yield numbers
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


TrainingView = Callable[[Event], object]
"""Takes a training's events."""


def follow(
    begin: Callable[[], WorkerProcess],
    views: Sequence[TrainingView],
    status: ProgressLine,
) -> Sequence[int]:
    """Begin a training and pass its events to the views until it ends; return the
    signals to end that came. The first of them stops it with a checkpoint, the second
    at once."""
    with stop_signals() as signals:
        training, obeyed = begin(), 0
        while True:
            while obeyed < min(len(signals), 2):
                obeyed += 1
                training.stop()
                if obeyed == 1:
                    status.lines(SAVING if training.began else LEAVING)
            for event in training.poll():
                for view in views:
                    view(event)
                if isinstance(event, End):
                    training.wait(LAST)
                    training.poll()  # cleans up after the process, if it has exited
                    status.clear()
                    return signals
            training.wait(EVERY)


class LinesView:
    """View that writes important events as lines. What is under way stands on a status
    line where there is one on a terminal; elsewhere it is a line, once."""

    def __init__(
        self,
        run: TrainingRun,
        write: Callable[[str], object],
        status: ProgressLine | None = None,
    ) -> None:
        self._run, self._write, self._status = run, write, status
        self._skipped: list[Skip] = []
        self._last: object = None

    def __call__(self, event: Event) -> None:
        match event:
            case Skip():
                self._skipped.append(event)
            case Plan():
                self._write(plan_text(event, self._skipped))
            case Doing():
                self._show(doing_words(event), event.what)
            case Step():
                mark = event.step * _STEP_LINES // self._run.steps
                self._show(step_words(event, self._run.steps), mark)
            case End() | Failed():
                pass  # `report_outcome` reports the outcome
            case _ if line := describe_event(event):
                self._write(text_of([line]))

    def _show(self, words: str, mark: object) -> None:
        """Show what is under way; `mark` changes with what is new."""
        if self._status is not None and self._status.is_terminal:
            self._status.show(words)
        elif mark != self._last:
            self._last = mark
            self._write(f"{words}\n")


class JsonView:
    """View that writes events as JSON lines; of work that is counted, each tenth."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last: tuple[str, int] | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Doing) and event.share is not None:
            reached = event.what, int(10 * event.share)
            if reached == self._last:
                return
            self._last, event = reached, replace(event, share=round(event.share, 2))
        self._output.event(to_fields(event))


def views_for(
    run: TrainingRun,
    status: ProgressLine,
    output: Output,
    *,
    as_json: bool,
    plain: bool,
) -> list[TrainingView]:
    """Return the views for these streams.

    JSON goes to stdout when asked for or when stdout is no terminal, and `plain` lines
    in place of it. Other lines go to stderr, but not beside JSON on the same terminal.
    """
    if plain:
        return [run.apply, LinesView(run, output.text)]
    views: list[TrainingView] = [run.apply]
    if as_json or not output.is_terminal:
        views.append(JsonView(output))
    if len(views) == 1 or (status.is_terminal and not output.is_terminal):
        views.append(LinesView(run, status.lines, status))
    return views


def plan_text(plan: Plan, skipped: Sequence[Skip]) -> str:
    lines = text_of(facts_of(plan))
    for skip in skipped:
        reason = visible_line(skip.reason)
        lines += f"  {visible_line(skip.path)}: {reason}\n"
    return lines


def step_words(step: Step, steps: int) -> str:
    words = (
        f"step {step.step:,} of {steps:,}",
        f"loss {notation.rate(step.loss)}",
        f"epoch {step.epoch:.2f}",
        f"{notation.speed(step.tokens_per_second)} tokens/s",
        f"{lasting(step.eta_seconds)} left",
    )
    return " · ".join(words)


def outcome_text(run: TrainingRun, adapters: Path) -> str:
    end = run.end
    assert end is not None
    done = f"done after {end.step:,} of {run.steps:,} steps\n"
    if end.adapter is None:
        return f"{done}{visible_line(end.verdict)}; no adapter was written\n"
    file = report_file(adapters, end.adapter)
    lines = "".join(f"{line}\n" for line in _report_lines(file.with_suffix(".json")))
    name = visible_line(end.adapter)
    return (
        f"{done}{lines}"
        f"report: {visible_line(home_path(file))}\n"
        f"next: lmtui chat --adapter {name}\n"
        f"      lmtui complete FILE --adapter {name}\n"
    )


def _report_lines(file: Path) -> Sequence[str]:
    with suppress(LmtuiError):
        return to_lines(records.read(file, Report, title="", hint=""))
    return ()


def text_of(paragraphs: Iterable[Paragraph]) -> str:
    lines = ("".join(text for text, _ in item.parts).rstrip() for item in paragraphs)
    return "".join(f"{line}\n" for line in lines)


def show_plan(request: TrainRequest, *, as_json: bool) -> int:
    """Show the plan of a training; return the exit code."""
    output, run = Output(), TrainingRun()
    status = ProgressLine()
    lines = LinesView(run, status.lines, status)

    def show_work(event: Event) -> None:
        if isinstance(event, Doing):
            lines(event)

    view = JsonView(output) if as_json else show_work
    start = partial(WorkerProcess.start, request, plan_only=True)
    signals = follow(start, [run.apply, view], status)
    _raise_failure(run)
    if signals or run.plan is None:
        return _stopped(signals)
    if not as_json:
        output.text(plan_text(run.plan, run.skipped))
        output.text("\n" + text_of(sample_of(run.plan)))
    return 0


def train(decision: Decision, *, as_json: bool, plain: bool) -> int:
    """Train without a screen; return the exit code."""
    request, run = decision.request, TrainingRun(_earlier(decision))
    status, output = ProgressLine(), Output()
    views = views_for(run, status, output, as_json=as_json, plain=plain)
    start = partial(WorkerProcess.start, request, resume=decision.resume, go=True)
    signals = follow(start, views, status)
    say = output.text if plain else note
    return report_outcome(run, request.name, signals, say=say)


def train_on_screen(
    decision: Decision,
    settings: Settings,
    *,
    no_color: bool,
    open_engine: OpenEngine | None,
) -> None:
    open_screen(
        settings,
        first="finetune",
        finetuning=begin(decision),
        no_color=no_color,
        open_engine=open_engine,
    )


def begin(decision: Decision) -> Finetuning:
    """Begin a training that is watched on a screen, which starts it."""
    request, run = decision.request, TrainingRun(_earlier(decision))
    worker = WorkerProcess.start(request, resume=decision.resume)
    return Finetuning(
        worker, run, request.name, paths.adapters_folder(), base=request.base
    )


def end(finetuning: Finetuning) -> None:
    """End a training whose screen is closed, unless it is over."""
    worker, run = finetuning.training, finetuning.run
    if run.end is not None:
        return

    def stopped() -> WorkerProcess:
        if not worker.stopping:
            worker.stop()
        return worker

    follow(stopped, [run.apply], ProgressLine())


def _earlier(decision: Decision) -> Sequence[Event]:
    """Return the events of the earlier parts of a resumed training.

    To be called before the next part starts.
    """
    if not decision.resume:
        return ()
    return RunFolder.named(decision.request.name).history()


def report_outcome(
    run: TrainingRun,
    name: str,
    signals: Sequence[int] = (),
    *,
    say: Callable[[str], object] = note,
) -> int:
    """Report the outcome, after these signals to end; return the exit code."""
    _raise_failure(run)
    assert run.end is not None
    if run.end.finish in ("done", "early"):
        say(outcome_text(run, paths.adapters_folder()))
        return 0
    if run.end.finish == "declined" and not signals:
        return 0
    saved = RunFolder.named(name).last_checkpoint
    if saved is None:
        say("stopped; there was nothing to save yet\n")
    else:
        say(f"stopped; saved at step {saved:,}\nresume with: {resume_command(name)}\n")
    return _stopped(signals)


def _stopped(signals: Sequence[int]) -> int:
    """Return the exit code of a training that was stopped."""
    return 128 + signals[0] if signals else STOPPED


def _raise_failure(run: TrainingRun) -> None:
    if failed := run.failed:
        raise LmtuiError(failed.title, failed.detail, failed.hint)
