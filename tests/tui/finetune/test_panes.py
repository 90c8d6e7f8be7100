"""What is written of a training: plan, figures, log, outcome, and an earlier run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from lmtui.train.events import Doing, End, Eval, Failed, Piece, Saved, Skip, Start
from lmtui.tui.finetune.panes import (
    RunFigures,
    RunHead,
    facts_of,
    progress_of,
    question_of,
    sample_of,
    samples_of,
    skips_of,
    state_of,
)
from lmtui.tui.finetune.run import TrainingRun
from lmtui.tui.finetune.screen import outcome_of
from lmtui.tui.widgets.paragraphs import Paragraph
from tests.fake_training import PLAN, before_it, ended, steps
from tests.tui.hosts import HOSTILE, safe

RESUME = "lmtui finetune --resume --name walks"
ADAPTERS = Path("/data/adapters")


def text_of(paragraphs: Iterable[Paragraph]) -> str:
    lines = ("".join(text for text, _ in one.parts) for one in paragraphs)
    return "\n".join(lines)


def figures_of(run: TrainingRun) -> str:
    lines = RunFigures(run).lines(44, 12)
    return text_of(Paragraph(tuple(line)) for line in lines)


def run_until(step: int) -> TrainingRun:
    run = TrainingRun()
    for event in (*before_it(), *steps(step)):
        run.apply(event)
    return run


def outcome(run: TrainingRun) -> str:
    return text_of(outcome_of(run, ADAPTERS, RESUME))


def test_plan_is_told_in_figures() -> None:
    text = text_of(facts_of(PLAN))
    for words in (
        "12 files, 18 documents: 16 to train on, 2 held out",
        "20,480 tokens in 40 blocks an epoch; 2,311 held out",
        "30 steps at most, in 3 epochs",
        "4,884,480 of 139,400,448 change (3.5%, lora)",
        "smollm2-135m-instruct · bfloat16 · cpu",
        "≈ 2.1 GB",
        "≈ 9 min",
    ):
        assert words in text


def test_plan_without_held_out_documents_says_so() -> None:
    note = "Too little text: nothing is held out."
    plan = replace(PLAN, held_out_documents=0, held_out_tokens=0, notes=(note,))
    text = text_of(facts_of(plan))
    assert note in text and "; nothing is held out" in text
    run = TrainingRun()
    run.apply(plan)
    run.apply(Start("walks", 30))
    assert "Nothing is held out to evaluate on." in figures_of(run)


@pytest.mark.parametrize(("share", "end"), [(0.1, "tenth"), (0.25, "25.0%")])
def test_plan_of_a_file_whose_end_is_held_out_has_one_document(
    share: float, end: str
) -> None:
    plan = replace(PLAN, files=1, documents=1, held_out_documents=1, held_out_end=share)
    text = text_of(facts_of(plan))
    assert f"1 file, 1 document; its last {end} is held out" in text


def test_sample_brackets_text_that_is_not_learned() -> None:
    text = text_of(sample_of(PLAN))
    assert "⟦user" in text and "assistant⟧" in text
    assert "is read, not learned" in text
    (line,) = [line for line in text.split("\n") if "Stegen" in line]
    assert "⟦" not in line and "⟧" not in line
    plain = replace(PLAN, sample=(Piece("Only words.", trained=True),))
    assert text_of(sample_of(plain)) == "Only words."


def test_log_and_figures_follow_the_events() -> None:
    run = run_until(17)
    log, figures = text_of(run.log), figures_of(run)
    for words in (
        "skipped maps/amper.png: binary",
        "the training starts",
        "! one gradient was longer than 100",
        "step 15: held-out loss 2.626, the best",
        "step 15: saved",
    ):
        assert words in log
    for words in ("3.480", "2.626", "32.46", "at step 15", "7.92e−05", "34,816"):
        assert words in figures
    samples = text_of(samples_of(run.sample))
    assert "now     the Ammersee, leaves it at Stegen and reaches the Isar" in samples
    assert "went to the beach.⏎It was a great" in samples
    assert "now     the same" in samples
    run.apply(Eval(18, math.nan, math.nan, math.inf, best=False))
    assert "held-out loss –" in text_of(run.log)
    assert "nan" not in figures_of(run) and "inf" not in figures_of(run)
    assert run.best is not None and run.best.step == 15


def test_outcome_tells_the_verdict_and_what_can_be_done() -> None:
    run = run_until(30)
    assert outcome(run) == ""
    run.apply(ended())
    for words in (
        "Better on your notes, slightly worse elsewhere.",
        "The weights of step 18, the best, are in the adapter walks.",
        "Report: /data/adapters/walks/report.md",
        "Your notes stayed on this machine.",
        "c chat with it",
    ):
        assert words in outcome(run)
    assert state_of(run) == "✓ done"


def test_outcome_of_a_stop_and_of_a_failure_tells_how_to_go_on() -> None:
    stopped, failed = run_until(12), run_until(12)
    stopped.apply(End("stopped", 12))
    for event in (Failed("no memory", "9.1 GB needed", "Lower --block."), ended()):
        failed.apply(event)
    failed.apply(End("failed", 12))
    assert "Stopped after 12 of 30 steps; step 12 is saved." in outcome(stopped)
    for words in ("✗ no memory", "9.1 GB needed", "Lower --block.", "step 12 stays."):
        assert words in outcome(failed)
    for run in (stopped, failed):
        assert RESUME in outcome(run)
    planned = TrainingRun()
    for failure in (Failed("nothing", "walks", "Name others."), End("failed", 0)):
        planned.apply(failure)
    assert "Name others." in outcome(planned) and RESUME not in outcome(planned)


@pytest.mark.parametrize("foreign", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_made_visible(foreign: str) -> None:
    sample = (Piece(foreign, False), Piece(foreign, True))
    plan = replace(PLAN, base=foreign, method=foreign, notes=(foreign,), sample=sample)
    skip = Skip(foreign, foreign)
    run = TrainingRun()
    for event in (Doing(foreign), *before_it(plan, [skip]), *steps(3, plan=plan)):
        run.apply(event)
    assert run.sample is not None
    items = tuple(
        replace(item, prompt=foreign, now=foreign) for item in run.sample.items
    )
    written = [*facts_of(plan), *sample_of(plan), *skips_of([skip], known=True)]
    written += samples_of(replace(run.sample, items=items))
    run.apply(Failed(foreign, foreign, foreign))
    written += [*run.log, *outcome_of(run, ADAPTERS, foreign)]
    head = RunHead(foreign, run)
    written += [Paragraph(tuple(line)) for line in head.lines(60, 2)]
    assert safe(text_of(written))


def test_resumed_run_goes_on_with_its_earlier_curve() -> None:
    run = TrainingRun([*before_it(), *steps(12), End("stopped", 12)])
    assert (run.phase, run.skipped) == ("preparing", [])
    for event in before_it():
        run.apply(event)
    assert "Enter goes on after step 12" in text_of(question_of(run))
    assert len(run.skipped) == 3
    run.apply(Start("walks", 30, resumed_from=12))
    assert (len(run.curve), run.last_step) == (12, 12)
    assert progress_of(run)[1][0][0] == "step 12 of 30"
    for event in steps(15):
        if getattr(event, "step", 0) > 12:
            run.apply(event)
    assert (len(run.curve), run.last_step) == (15, 15)
    assert [scored.step for scored in run.evals] == [0, 3, 6, 9, 12, 15]


def test_repeated_step_events_count_once() -> None:
    run = run_until(9)
    for event in (*steps(9), Saved(9)):
        run.apply(event)
    assert len(run.curve) == 9
    assert [scored.step for scored in run.evals] == [0, 3, 6, 9]
