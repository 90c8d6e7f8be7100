"""What the training screen says of a run.

Pure functions from a run to what its widgets show. Knows no widget's place and no
process.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lmtui.busy import Use
from lmtui.notation import counted, lasting
from lmtui.text import visible_line
from lmtui.train.events import Doing, End, Failed
from lmtui.train.judging import PRIVACY
from lmtui.tui.training_run import TrainingRun
from lmtui.tui.widgets.run_figures import Figures
from lmtui.tui.widgets.run_head import Head
from lmtui.tui.widgets.run_words import epochs
from lmtui.tui.widgets.wrapping import Paragraph

STOPPING = "finishing the step and saving"
_SHARED = "On one processor each makes the other slower."


def head_of(run: TrainingRun, name: str, *, stopping: bool = False) -> Head:
    """Name and state, and how far it is."""
    base = visible_line(run.plan.base) if run.plan else ""
    title = f"{visible_line(name)}  on {base}" if base else visible_line(name)
    if not run.started:
        doing = run.doing
        share = doing.share if doing else None
        words = visible_line(doing.what) if doing else ""
        return Head(title, _state(run, stopping), share, ((words,),))
    share = run.last_step / run.steps if run.steps else None
    return Head(title, _state(run, stopping), share, _progress(run))


def _state(run: TrainingRun, stopping: bool) -> str:
    phase = run.phase
    if phase == "over":
        return _over(run)
    if stopping:
        return STOPPING
    if phase == "planned":
        return "waiting for you"
    if phase == "paused":
        return "‖ paused"
    if phase == "training" and run.doing is not None:
        return _doing_words(run.doing)
    return phase


def _over(run: TrainingRun) -> str:
    if run.end is None or run.end.finish == "failed":
        return "✗ failed" if run.begun else "✗ not started"
    return "stopped" if run.end.finish in ("stopped", "declined") else "✓ done"


def _doing_words(doing: Doing) -> str:
    share = "" if doing.share is None else f" {doing.share:.0%}"
    return visible_line(doing.what) + share


def _progress(run: TrainingRun) -> Sequence[Sequence[str]]:
    """Step, epoch and what is left, ever shorter."""
    steps = f"step {run.last_step:,} of {run.steps:,}"
    short = f"{run.last_step:,}/{run.steps:,}"
    if run.step is None:
        return ((steps,), (short,))
    epoch = f"epoch {run.step.epoch:.2f}"
    whole = f"{epoch} of {epochs(run.plan.epochs)}" if run.plan else epoch
    if run.phase in ("over", "paused"):
        return ((steps, whole), (steps, epoch), (steps,), (short,))
    left = f"{lasting(run.step.eta_seconds)} left"
    return ((steps, whole, left), (steps, epoch, left), (steps, left), (short, left))


def figures_of(run: TrainingRun) -> Figures:
    """The held-out figures and the pace."""
    return Figures(
        before=run.before,
        now=run.evals[-1] if run.evals else None,
        best=run.best,
        step=run.step,
        loss=run.curve.last,
        judged=run.plan is None or run.plan.held_out_documents > 0 or bool(run.evals),
        over=run.phase == "over",
    )


def question_of(
    run: TrainingRun, others: Sequence[Use], *, again: bool = False
) -> list[Paragraph]:
    """The question before a training; `again` where Enter was pressed before."""
    if run.phase != "planned":
        return []
    begins = f"goes on after step {run.saved:,}" if run.saved else "starts"
    if again:
        begins += " anyway"
    asked = [
        Paragraph((("Enter ", "accent"), (f"{begins}  ·  ", ""),
                   ("Esc ", "accent"), ("leaves; nothing is changed", "")))
    ]  # fmt: skip
    if others:
        names = ", ".join(visible_line(use.words) for use in others)
        asked.insert(0, Paragraph(((f"! Running too: {names}. {_SHARED}", "warning"),)))
    return asked


def outcome_of(
    run: TrainingRun, adapters: Path, resume: str, *, can_write: bool
) -> list[Paragraph]:
    """How it ended, what there is now, and what can be done; `can_write` where there
    is an editor to go on in."""
    if run.phase != "over":
        return []
    if run.end is None or run.end.finish == "failed":
        return _broken(run, resume)
    if run.end.finish in ("stopped", "declined"):
        return _stopped(run, run.end, resume)
    return _done(run.end, adapters, can_write=can_write)


def _done(end: End, adapters: Path, *, can_write: bool) -> list[Paragraph]:
    verdict = visible_line(end.verdict) or "The training is over."
    why = "The held-out loss no longer improved. " if end.finish == "early" else ""
    told = [Paragraph(((verdict, "strong"),))]
    if end.adapter is None:
        return [*told, Paragraph(((f"{why}No adapter was written.", ""),)), _keys()]
    adapter = f"the adapter {visible_line(end.adapter)}"
    words = f"{why}The result is in {adapter}."
    if end.best_step is not None:
        best = f"The weights of step {end.best_step:,}, the best"
        words = f"{why}{best}, are in {adapter}."
    report = home_path(report_file(adapters, end.adapter))
    told += [
        Paragraph(((words, ""),)),
        Paragraph((("Report: ", "quiet"), (visible_line(report), "")), 2),
        Paragraph(((PRIVACY, "quiet"),)),
    ]
    editor = [("e", "write with it")] if can_write else []
    return [*told, _keys(("c", "chat with it"), *editor, ("r", "report"))]


def _stopped(run: TrainingRun, end: End, resume: str) -> list[Paragraph]:
    steps = f"Stopped after {end.step:,} of {counted(run.steps, 'step')}"
    if run.saved is None:
        words = f"{steps}; there was nothing to save."
        return [Paragraph(((words, "strong"),)), _keys()]
    words = f"{steps}; step {run.saved:,} is saved."
    return [Paragraph(((words, "strong"),)), _later(resume), _keys()]


def _broken(run: TrainingRun, resume: str) -> list[Paragraph]:
    failed = run.failed or Failed("the training ended unexpectedly", "", "See the log.")
    told = [Paragraph(((f"✗ {visible_line(failed.title)}", "error"),))]
    told += [
        Paragraph(((visible_line(part), style),))
        for part, style in ((failed.detail, ""), (failed.hint, "strong"))
        if part
    ]
    if run.saved is not None:
        kept = f"What was saved at step {run.saved:,} stays."
        told += [Paragraph(((kept, ""),)), _later(resume)]
    return [*told, _keys()]


def _later(resume: str) -> Paragraph:
    return Paragraph(
        ((visible_line(resume), "accent"), ("  goes on from there", "")), 2
    )


def _keys(*more: tuple[str, str]) -> Paragraph:
    parts: list[tuple[str, str]] = []
    for key, words in (*more, ("q", "leave")):
        parts += [
            ("  ·  " if parts else "", "quiet"),
            (f"{key} ", "accent"),
            (words, ""),
        ]
    return Paragraph(tuple(parts))


def report_file(adapters: Path, adapter: str) -> Path:
    """Where the report of an adapter is."""
    return adapters / adapter / "report.md"


def home_path(path: Path) -> str:
    """A path as people write it."""
    with suppress(ValueError, RuntimeError):  # not at home, or without one
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)
