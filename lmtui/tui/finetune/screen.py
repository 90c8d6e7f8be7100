"""The finetune screen: the plan, then the progress of the training, then its outcome.

Polls the training process at a fixed interval and draws all new events at once.
Questions before start and stop are asked here. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.events import DescendantFocus
from textual.screen import Screen

from lmtui.models.source import ModelRef
from lmtui.notation import counted
from lmtui.text import visible_line
from lmtui.train.events import End, Event, Failed, Paused, Warned
from lmtui.train.resolve import resume_command
from lmtui.train.verdict import PRIVACY
from lmtui.tui.app_messages import AdapterChosen
from lmtui.tui.dialogs import Choice, ConfirmDialog, PageScreen
from lmtui.tui.finetune.format import home_path
from lmtui.tui.finetune.loss_chart import LossChart
from lmtui.tui.finetune.panes import (
    PlanView,
    RunFigures,
    RunHead,
    samples_of,
    title_of,
)
from lmtui.tui.finetune.run import Finetuning, TrainingRun
from lmtui.tui.widgets.markdown import MarkdownView
from lmtui.tui.widgets.paragraphs import Pane, Paragraph, Paragraphs, paragraphs
from lmtui.tui.widgets.status import Status

EVERY = 0.1
"""Seconds between two polls of the training process."""
_AT_ONCE = "q again leaves at once, with what was saved before"
_PAUSING = "pausing before the next step · p goes on"
_STATES = {
    "preparing": "making the plan · Esc leaves",
    "planned": "Enter begins · Esc leaves · Tab goes from part to part · F1 help",
    "starting": "p pauses · q stops · Tab goes from part to part · F1 help",
    "training": "p pauses · q stops · Tab goes from part to part · F1 help",
    "paused": "paused · p goes on · q stops · F1 help",
    "over": "q leaves · Tab goes from part to part · F1 help",
}


def outcome_of(run: TrainingRun, adapters: Path, resume: str) -> list[Paragraph]:
    """Return how the run ended, what there is now, and the keys to go on with."""
    if run.phase != "over":
        return []
    if run.end is None or run.end.finish == "failed":
        return [*_broken(run, resume), _keys()]
    if run.end.finish in ("stopped", "declined"):
        return [*_stopped(run, run.end, resume), _keys()]
    keys = ("c", "chat with it"), ("e", "write with it"), ("r", "report")
    return [*_done(run.end, adapters), _keys(*(keys if run.end.adapter else ()))]


def _done(end: End, adapters: Path) -> Iterator[Paragraph]:
    yield from paragraphs(
        visible_line(end.verdict) or "The training is over.", "strong"
    )
    why = "The held-out loss no longer improved. " if end.finish == "early" else ""
    if end.adapter is None:
        yield from paragraphs(f"{why}No adapter was written.", "")
        return
    adapter = f"the adapter {visible_line(end.adapter)}"
    words = f"The result is in {adapter}."
    if end.best_step is not None:
        words = f"The weights of step {end.best_step:,}, the best, are in {adapter}."
    yield from paragraphs(why + words, "")
    report = visible_line(home_path(report_file(adapters, end.adapter)))
    yield Paragraph((("Report: ", "quiet"), (report, "")), 2)
    yield from paragraphs(PRIVACY, "quiet")


def _stopped(run: TrainingRun, end: End, resume: str) -> Iterator[Paragraph]:
    steps = f"Stopped after {end.step:,} of {counted(run.steps, 'step')}"
    if run.saved is None:
        yield from paragraphs(f"{steps}; there was nothing to save.", "strong")
        return
    yield from paragraphs(f"{steps}; step {run.saved:,} is saved.", "strong")
    yield _later(resume)


def _broken(run: TrainingRun, resume: str) -> Iterator[Paragraph]:
    failed = run.failed or Failed("the training ended unexpectedly", "", "See the log.")
    yield from paragraphs(f"✗ {visible_line(failed.title)}", "error")
    for part, style in (failed.detail, ""), (failed.hint, "strong"):
        yield from paragraphs(visible_line(part), style) if part else ()
    if run.saved is not None:
        yield from paragraphs(f"What was saved at step {run.saved:,} stays.", "")
        yield _later(resume)


def _later(resume: str) -> Paragraph:
    return Paragraph(
        ((visible_line(resume), "accent"), ("  continues from there", "")), 2
    )


def _keys(*more: tuple[str, str]) -> Paragraph:
    parts: list[tuple[str, str]] = []
    for key, words in (*more, ("q", "leave")):
        parts += [("  ·  ", "quiet")] if parts else []
        parts += [(f"{key} ", "accent"), (words, "")]
    return Paragraph(tuple(parts))


def report_file(adapters: Path, adapter: str) -> Path:
    return adapters / adapter / "report.md"


def report_page(path: Path) -> PageScreen:
    """Return the report of a training as a page, or why it can't be read."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        text = f"The report can't be read: {error.strerror}."
    return PageScreen(visible_line(home_path(path)), MarkdownView(text))


class FinetuneScreen(Screen[None]):
    """The plan; once training has begun, the loss chart with metrics, samples and a
    log."""

    HELP = """\
The training runs in its own process and continues while help or the palette is open.
Stopping finishes the step and saves; the command that is shown then resumes to exactly
the weights of a run that was never stopped.
"""
    CSS_PATH = "screen.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (the base class declares it so)
        (0, "-narrow"),
        (100, "-wide"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-low"), (24, "-high")]  # noqa: RUF012 (as above)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "begin", "Start", id="finetune.start",
                tooltip="Start the planned training."),
        Binding("p", "pause", "Pause", id="finetune.pause",
                tooltip="Pause before the next step, or resume."),
        Binding("c", "use('chat')", "Chat with it", id="finetune.chat",
                tooltip="Load the adapter and talk."),
        Binding("e", "use('complete')", "Write with it", id="finetune.editor",
                tooltip="Load the adapter and go on with a text."),
        Binding("r", "report", "Report", id="finetune.report",
                tooltip="Read what changed, figures and texts."),
        Binding("q", "app.quit", "Stop", id="finetune.quit",
                tooltip="Stop and leave; what was learned is saved first."),
        Binding("escape", "app.leave_training", "Leave", id="finetune.back", show=False,
                tooltip="Leave before anything is trained, or after it."),
        Binding("ctrl+c", "interrupt", "Copy or stop", id="finetune.interrupt",
                tooltip="Copy the selection, or save, stop and leave; a second time, "
                "leave at once.", priority=True, show=False),
    ]  # fmt: skip

    def __init__(
        self,
        finetuning: Finetuning,
        *,
        leave: Callable[[], None],
    ) -> None:
        super().__init__()
        self._finetuning = finetuning
        self._training = finetuning.training
        self._leave_program = leave
        self.run = finetuning.run
        self._pausing = False

    @property
    def at_work(self) -> bool:
        return self.run.phase != "over"

    @property
    def _adapter_name(self) -> str:
        """The name of the finished adapter, or ""."""
        return (self.run.end and self.run.end.adapter) or ""

    def compose(self) -> ComposeResult:
        yield RunHead(self._finetuning.name, self.run)
        yield Paragraphs(id="outcome")
        yield PlanView(id="plan")
        with Vertical(id="run"):
            with Horizontal(id="upper"):
                yield LossChart(self.run, id="chart")
                yield RunFigures(self.run)
            with Horizontal(id="lower"):
                yield Pane("Samples", id="samples")
                yield Pane("Log", id="log", follow=True)
        yield Status(id="status")

    def on_mount(self) -> None:
        self.query_one("#sample").focus()
        self._timer = self.set_interval(EVERY, self.look)
        self._draw()

    def look(self) -> None:
        lives = self._training.running
        events = self._training.poll()
        if not events:
            if not lives:
                self._timer.stop()
            return
        before = self.run.phase
        for event in events:
            self._apply(event)
        if self.run.phase != before:
            self._enter()
        self._draw()
        if self.run.phase == "over" and self.run.stopping and self.run.failed is None:
            self._leave_program()

    def _apply(self, event: Event) -> None:
        self.run.apply(event)
        if isinstance(event, Warned):
            self.notify(visible_line(event.text), severity="warning", markup=False)
        elif isinstance(event, Paused):
            self._pausing = event.paused

    def _enter(self) -> None:
        if self.run.phase == "over" and isinstance(self.app.screen, ConfirmDialog):
            self.app.screen.action_leave()  # nothing is left to stop
        self.refresh_bindings()

    # Drawing.

    def _draw(self) -> None:
        run, finetuning = self.run, self._finetuning
        self.set_class(run.phase == "over", "-over")
        self.set_class(run.failed is not None, "-failed")
        self.query_one(RunHead).refresh()
        again = resume_command(finetuning.name)
        outcome = outcome_of(run, finetuning.adapters, again)
        self.query_one("#outcome", Paragraphs).show(outcome)
        self.query_one(Status).state = self._state()
        if run.begun != self.has_class("-running"):
            self.set_class(run.begun, "-running")
            self.query_one("#samples").focus()
        if run.begun:
            self._draw_run()
        else:
            self.query_one(PlanView).show(run)

    def _draw_run(self) -> None:
        run = self.run
        self.query_one(LossChart).refresh()
        self.query_one(RunFigures).refresh()
        samples = self.query_one("#samples", Pane)
        samples.head(title_of(run.sample))
        samples.show(samples_of(run.sample))
        self.query_one("#log", Pane).show(run.log)

    def _state(self) -> str:
        phase = self.run.phase
        if self.run.stopping and phase != "over":
            return _AT_ONCE
        if self._pausing and phase == "training":
            return _PAUSING
        return _STATES[phase]

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """In a small terminal, give the focused part most of the room."""
        self.set_class(event.widget.id in ("log", "skipped"), "-second")

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        phase = self.run.phase
        if action == "begin":
            return phase == "planned"
        if action == "pause":
            return phase in ("starting", "training", "paused")
        if action in ("use", "report"):
            return bool(self._adapter_name)
        return super().check_action(action, parameters)

    def action_begin(self) -> None:
        self.run.begun = True
        self._training.go()
        self.refresh_bindings()
        self._draw()

    def action_pause(self) -> None:
        self._pausing = not self._pausing
        if self._pausing:
            self._training.pause()
        else:
            self._training.resume()
        self.query_one(Status).state = self._state()

    def action_use(self, verb: Literal["chat", "complete"]) -> None:
        chosen = ModelRef(self._finetuning.base, self._adapter_name)
        self.post_message(AdapterChosen(chosen, verb))

    def action_report(self) -> None:
        path = report_file(self._finetuning.adapters, self._adapter_name)
        self.app.push_screen(report_page(path))

    def action_interrupt(self) -> None:
        if selected := self.get_selected_text():
            self.app.copy_to_clipboard(selected)
        elif self.at_work:
            self._stop()
        else:
            self.notify("q leaves.")

    # Leaving.

    def stop_and_leave(self) -> None:
        """Stop the training and leave, after a question if it has begun. A second call
        leaves at once."""
        if self.run.stopping or self.run.phase in ("preparing", "planned"):
            self._stop()
            return
        details = [
            "The step that runs is finished and saved: nothing is lost.",
            f"{resume_command(self._finetuning.name)}  continues from there.",
        ]
        choices = [
            Choice("s", "Stop", "finish the step, save and leave"),
            Choice("g", "Go on", "the training goes on"),
        ]
        title = "Stop the training?"
        dialog = ConfirmDialog(title, details, choices, harmless="g", asked=True)
        self.app.push_screen(dialog, self._answer_stop)

    def _answer_stop(self, answer: str | None) -> None:
        if answer == "s":
            self._stop()

    def _stop(self) -> None:
        """Stop the training and leave once it has saved; at once if there is nothing to
        save, or the second time."""
        again, self.run.stopping = self.run.stopping, True
        self._training.stop()
        if again or self.run.phase in ("preparing", "planned", "over"):
            self._leave_program()
        else:
            self._draw()
