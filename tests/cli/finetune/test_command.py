"""`lmtui finetune` without a screen, with a scripted worker."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lmtui import paths
from lmtui.train.request import TrainRequest
from lmtui.train.run_folder import RunFolder
from tests.cli import program
from tests.cli.program import (
    REPOSITORY,
    SGR,
    Process,
    Result,
    hang_up,
    run,
    run_in_terminal,
    started,
)
from tests.cli.program import read_until as terminal_until


@pytest.fixture
def notes(tmp_path: Path) -> str:
    folder = tmp_path / "My Notes"
    folder.mkdir()
    (folder / "a.md").write_text("a note")
    return str(folder)


def finetune(*arguments: str, **worker: Any) -> Result:
    """Run the verb through pipes; its worker does as it is told."""
    return run("finetune", *arguments, script={"worker": worker})


@contextmanager
def begun(*arguments: str, **worker: Any) -> Iterator[Process]:
    """The verb at work, with pipes."""
    with program.begun("finetune", *arguments, script={"worker": worker}) as child:
        yield child


def read_until(child: Process, **wanted: Any) -> None:
    assert child.stdout
    for line in child.stdout:
        event = json.loads(line)
        if all(event.get(name) == value for name, value in wanted.items()):
            return
    raise AssertionError("it ended before that")


def rest(child: Process) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, the remaining events, and what was said to people."""
    out, err = child.communicate(timeout=60)
    return child.returncode, [json.loads(x) for x in out.splitlines()], err.decode()


def stopped(notes: str, *arguments: str) -> None:
    with begun(notes, "--headless", *arguments, hold=4) as child:
        read_until(child, event="step", step=3)
        child.send_signal(signal.SIGINT)
        assert rest(child)[0] == 130


def names(done: Result) -> list[str]:
    return [event["event"] for event in done.events]


def test_headless_training_writes_events_and_then_what_came_of_it(
    notes: str, empty_home: Path
) -> None:
    done = finetune(notes, "--headless", skips=["a.bin"])
    assert done.code == 0
    assert names(done)[:4] == ["doing", "skip", "plan", "start"]
    assert names(done)[-1] == "end"
    by_name: dict[str, Mapping[str, Any]] = {e["event"]: e for e in done.events}
    skip = {"event": "skip", "path": "a.bin", "reason": "it is binary"}
    assert by_name["skip"] == skip
    fields = (
        *("step", "epoch", "loss", "lr", "grad_norm"),
        *("tokens", "tokens_per_second", "eta_seconds"),
    )
    assert set(fields) < set(by_name["step"])
    assert {"loss", "perplexity", "bits_per_byte"} < set(by_name["eval"])
    assert by_name["end"]["adapter"] == "My-Notes"
    report = paths.adapters_folder() / "My-Notes" / "report.md"
    lines = done.err.splitlines()
    assert lines[:2] == ["done after 4 of 4 steps", "better on your notes"]
    figures = [line.split() for line in lines if line.startswith("held out")]
    assert figures[0][-3:] == ["3.000", "2.600", "−13.3%"]
    assert f"report: {report}" in lines
    assert "next: lmtui chat --adapter My-Notes\n" in done.err
    assert "word for word" in done.err


def test_a_dry_run_shows_the_plan_and_leaves_nothing(
    notes: str, empty_home: Path
) -> None:
    hostile = "b\x1b[2J.bin"
    done = finetune(notes, "--dry-run", skips=[hostile], notes=["no held-out figure"])
    # No meter where stderr is no terminal: a line says what takes the time.
    assert (done.code, done.err) == (0, "reading the notes\n")
    assert "3 files" in done.out
    assert "no held-out figure" in done.out
    assert "  b␛[2J.bin: it is binary\n" in done.out
    assert "⟦Question⟧\nAnswer\n" in done.out
    assert list(paths.runs_folder().iterdir()) == []
    assert not paths.adapters_folder().exists()
    done = finetune(notes, "--dry-run", "--json")
    assert names(done) == ["doing", "plan", "end"]
    assert done.events[-1]["finish"] == "declined"


def test_dry_run_on_a_terminal_shows_progress_before_the_plan(notes: str) -> None:
    code, written = run_in_terminal("finetune", notes, "--dry-run")
    assert code == 0
    assert b"reading the notes" in written
    assert written.index(b"reading the notes") < written.index(b"3 files")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_saves_a_checkpoint_and_prints_the_resume_command(
    notes: str, number: signal.Signals
) -> None:
    with begun(notes, "--headless", hold=4) as child:
        read_until(child, event="step", step=3)
        child.send_signal(number)
        code, events, said = rest(child)
    assert code == 128 + number
    assert [event["event"] for event in events] == ["saved", "end"]
    assert events[-1]["finish"] == "stopped"
    assert said.splitlines() == [
        "finishing the step and saving; Ctrl-C again leaves at once",
        "stopped; saved at step 3",
        "resume with: lmtui finetune --resume --name My-Notes",
    ]


def test_signal_ends_a_dry_run_at_once(notes: str) -> None:
    with begun(notes, "--dry-run", "--json", deaf=True, planning=True) as child:
        read_until(child, event="doing")
        child.send_signal(signal.SIGHUP)
        code, events, said = rest(child)
    assert code == 129
    assert events[-1]["finish"] == "declined"
    assert said == "stopping; nothing was trained\n"


def test_second_ctrl_c_leaves_at_once(notes: str) -> None:
    with begun(notes, "--headless", hold=4, deaf=True) as child:
        read_until(child, event="step", step=3)
        child.send_signal(signal.SIGINT)
        assert child.stderr
        assert b"again leaves at once" in child.stderr.readline()
        child.send_signal(signal.SIGINT)
        code, events, said = rest(child)
    assert code == 130
    assert events == [
        {"event": "end", "finish": "stopped", "step": 2}
        | {"adapter": None, "best_step": None, "verdict": ""}
    ]
    assert "stopped; saved at step 2\n" in said


def test_stop_before_the_first_save_leaves_no_run_folder(notes: str) -> None:
    with begun(notes, "--headless", hold=1, deaf=True) as child:
        read_until(child, event="start")
        child.send_signal(signal.SIGINT)
        assert child.stderr
        child.stderr.readline()
        child.send_signal(signal.SIGINT)
        code, _, said = rest(child)
    assert (code, said) == (130, "stopped; there was nothing to save yet\n")
    assert not RunFolder.named("My-Notes").path.exists()


def test_nohup_training_ignores_sighup(notes: str) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with begun(notes, "--headless", hold=4) as child:
            read_until(child, event="step", step=3)
            child.send_signal(signal.SIGHUP)
            child.send_signal(signal.SIGINT)
            _, events, said = rest(child)
    finally:
        signal.signal(signal.SIGHUP, before)
    # The first signal did not count: the second was the first.
    assert events[-1]["finish"] == "stopped"
    assert "stopped; saved at step 3\n" in said


def test_closed_stdout_saves_the_training(notes: str) -> None:
    # So many steps that there is always one more to be told.
    with begun(notes, "--headless", steps=1_000_000) as child:
        read_until(child, event="step", step=2)
        assert child.stdout
        child.stdout.close()
        assert child.wait(timeout=60) == 141
    folder = RunFolder.named("My-Notes")
    while folder.in_use:  # the worker saves and ends by itself
        os.sched_yield()
    assert folder.last_checkpoint
    assert b'"finish": "stopped"' in folder.events_file.read_bytes()


def test_a_failed_training_is_an_error_with_a_hint(notes: str) -> None:
    done = finetune(notes, "--headless", die="error", die_at=1)
    assert done.code == 2
    assert done.err == "error: no memory: 2 GB\nhint: Lower --block.\n"
    assert names(done)[-2:] == ["error", "end"]
    done = finetune(notes, "--headless", die="exit", die_at=3)
    assert done.code == 2
    assert "error: the training ended unexpectedly: it ended with code 3\n" in done.err
    assert "RuntimeError: the very last line" in done.err
    assert done.err.endswith("lmtui finetune --resume --name My-Notes\n")


def test_taken_name_is_refused_without_overwrite(notes: str, empty_home: Path) -> None:
    stopped(notes)
    assert finetune(notes, "--dry-run").code == 0  # which needs no name
    assert RunFolder.named("My-Notes").last_checkpoint == 3
    done = finetune(notes, "--headless")
    assert (done.code, done.out) == (2, "")
    assert "a training of this name is not finished: My-Notes, at step 3" in done.err
    assert "--overwrite" in done.err
    assert finetune(notes, "--headless", "--overwrite").code == 0
    assert os.listdir(paths.adapters_folder()) == ["My-Notes"]


def test_single_unfinished_training_is_resumed_with_its_settings(notes: str) -> None:
    stopped(notes, "--rank", "3")
    done = finetune("--resume", "--rank", "4")
    assert (done.code, done.out) == (2, "")
    assert "a resumed training keeps its settings: rank is 3" in done.err
    done = finetune("--resume", "--force")
    assert done.code == 0
    start = next(event for event in done.events if event["event"] == "start")
    assert start["resumed_from"] == 3


def test_flags_and_settings_reach_the_worker(notes: str, empty_home: Path) -> None:
    (empty_home / "config.toml").write_text(
        "[finetune]\nepochs = 9\nblock = 64\nwarmup = 0\nclip = 2\npatience = 9\n"
        'max_file_mb = 1\nfront_matter = "keep"\n'
    )
    flags = (
        *("--rank", "3", "--alpha", "6", "--lr", "0.01", "--batch", "2"),
        *("--epochs", "0.5", "--evaluations", "1", "--held-out", "0.2"),
        *("--dtype", "float32", "--seed", "7", "--strict"),
        *("--threads", "1", "--device", "cpu", "--model", "default"),
    )
    stopped(notes, *flags)
    request = RunFolder.named("My-Notes").read_request()
    settings = request.settings
    assert request == TrainRequest(
        "My-Notes",
        (notes,),
        settings=settings,
        device="cpu",
        threads=1,
        versions=request.versions,
    )
    assert (settings.rank, settings.alpha, settings.lr) == (3, 6, 0.01)
    assert (settings.epochs, settings.block, settings.batch) == (0.5, 64, 2)
    assert (settings.warmup, settings.clip, settings.evaluations) == (0.0, 2.0, 1)
    assert (settings.patience, settings.held_out) == (9, 0.2)
    assert (settings.max_file_mb, settings.front_matter) == (1.0, "keep")
    assert (settings.dtype, settings.seed, settings.strict) == ("float32", 7, True)


def test_full_and_from_scratch_flags_set_the_method(notes: str) -> None:
    done = finetune(notes, "--dry-run", "--json", "--full")
    assert done.events[1]["method"] == "full"
    stopped(notes, "--from-scratch", "--layers", "2", "--width", "64")
    settings = RunFolder.named("My-Notes").read_request().settings
    assert (settings.method, settings.layers, settings.width) == ("scratch", 2, 64)


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (
            ["--headless"],
            "no notes were given",
            "Name files or folders: lmtui finetune NOTES.",
        ),
        (
            ["x", "--full", "--from-scratch"],
            "--full and --from-scratch exclude each other",
            "Give one.",
        ),
        (
            ["x", "--layers", "2"],
            "--layers has no effect on this kind of training: lora",
            "Add --from-scratch.",
        ),
        (
            ["x", "--full", "--rank", "2"],
            "--rank has no effect on this kind of training: full",
            "Leave it out when all weights are trained.",
        ),
        (
            ["--dry-run", "--resume", "--name", "x"],
            "--dry-run and --resume exclude each other",
            "Leave --dry-run out: on a terminal, --resume shows the plan first.",
        ),
    ],
)
def test_bad_arguments_exit_2_with_an_error_and_a_hint(
    arguments: list[str], error: str, hint: str, empty_home: Path
) -> None:
    done = finetune(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: {error}\nhint: {hint}\n"
    assert os.listdir(empty_home) == []


def test_missing_model_is_an_error_before_any_event(notes: str) -> None:
    done = finetune(notes, "--model", "./no-such-model")
    assert (done.code, done.out) == (2, "")
    assert "no-such-model" in done.err


def test_relative_model_path_is_stored_as_absolute(notes: str, tmp_path: Path) -> None:
    model = tmp_path / "tiny"
    model.mkdir()
    (model / "config.json").write_text("{}")
    stopped(notes, "--model", os.path.relpath(model, REPOSITORY))
    assert RunFolder.named("My-Notes").read_request().base == str(model)


def test_headless_on_a_terminal_prints_readable_lines(notes: str) -> None:
    code, written = run_in_terminal(
        "finetune", notes, "--headless", script={"worker": {"skips": ["a\x07.bin"]}}
    )
    assert code == 0
    text = SGR.sub("", written.decode()).replace("\r", "\n")
    for words in ("a␇.bin: it is binary", "3 files", "held-out loss 2.600", "report"):
        assert words in text
    assert "step 3 of 4 · loss 2.700 · epoch 0.75" in text
    assert '{"event"' not in text
    assert b"\x07" not in written


def test_plain_writes_the_lines_of_a_log_to_stdout(notes: str) -> None:
    done = finetune(notes, "--plain", skips=["a\x07.bin"])
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "reading the notes"
    assert "  a␇.bin: it is binary" in lines
    assert len([line for line in lines if line.startswith("step ")]) >= 4
    assert "step 3 of 4 · loss 2.700 · epoch 0.75" in done.out
    assert done.out.index("step 4 of 4") < done.out.index("done after 4 of 4 steps")
    assert lines[-1].endswith("lmtui complete FILE --adapter My-Notes")
    assert '{"event"' not in done.out


def test_plain_stop_says_how_to_resume_in_the_log(notes: str) -> None:
    with begun(notes, "--plain", hold=4) as child:
        assert child.stdout
        while b"step 3 of 4" not in child.stdout.readline():
            pass
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"resume with: lmtui finetune --resume --name My-Notes" in out


def test_plain_and_json_exclude_each_other(notes: str) -> None:
    done = finetune(notes, "--plain", "--json")
    assert done.code == 2
    assert "--plain and --json exclude each other" in done.err


def test_long_work_is_told_ten_times_in_json_and_once_in_a_log(notes: str) -> None:
    shares = [number / 77 for number in range(78)]
    events = finetune(notes, "--headless", shares=shares).events
    told = [e["share"] for e in events if e.get("what") == "evaluating"]
    assert len(told) == 11 and (told[0], told[-1]) == (0, 1)
    assert told == [round(share, 2) for share in told]
    assert (
        finetune(notes, "--plain", "--overwrite", shares=shares).out.count("evaluating")
        == 1
    )


def test_json_on_a_terminal_is_json_alone(notes: str) -> None:
    code, written = run_in_terminal("finetune", notes, "--json")
    assert code == 0
    lines = written.decode().splitlines()
    events = [line for line in lines if line.startswith('{"event"')]
    assert json.loads(events[-1])["event"] == "end"
    assert lines.index(events[-1]) == len(events) - 1


def test_existing_adapter_is_confirmed_before_it_is_replaced(notes: str) -> None:
    assert finetune(notes, "--headless").code == 0
    code, written = run_in_terminal("finetune", notes, typed=[(b"Replace it", b"n\n")])
    assert code == 130
    assert b"an adapter of this name already exists: My-Notes" in written
    assert b"\x1b[?1049h" not in written


def test_training_on_a_terminal_waits_for_enter_on_its_screen(notes: str) -> None:
    code, written = run_in_terminal(
        "finetune",
        notes,
        size=(40, 120),
        typed=[(b"waiting for Enter", b"\r"), (b"Report:", b"q")],
    )
    assert code == 0
    after = written[written.rindex(b"\x1b[?1049l") :]
    assert b"done after 4 of 4 steps\r\nbetter on your notes\r\n" in after
    assert (paths.adapters_folder() / "My-Notes").exists()


def test_closed_terminal_saves_the_training(notes: str) -> None:
    with started("finetune", notes, script={"worker": {"hold": 4}}, size=(40, 120)) as (
        child,
        terminal,
    ):
        terminal_until(terminal, b"waiting for Enter")
        os.write(terminal, b"\r")
        terminal_until(terminal, b"step 3")
        hang_up(terminal)
        assert child.wait(timeout=60) == 129
    assert RunFolder.named("My-Notes").last_checkpoint == 3


def test_escape_before_the_start_leaves_no_run_folder(notes: str) -> None:
    code, written = run_in_terminal(
        "finetune", notes, typed=[(b"waiting for Enter", b"\x1b")]
    )
    assert code == 0
    assert b"go on with" not in written
    assert not RunFolder.named("My-Notes").path.exists()
