"""From a request to an adapter, however often it is broken off on the way."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmtui import paths
from lmtui.cli.main import main
from lmtui.engine.engine import LocalEngine
from lmtui.models.adapters import folders
from lmtui.train import events
from lmtui.train.client import WorkerProcess
from lmtui.train.events import End, Eval, Event, Failed, Paused, Plan, Saved, Step
from lmtui.train.request import TrainRequest
from lmtui.train.run_folder import RunFolder
from lmtui.train.split import NOTHING_HELD_OUT
from tests.models.gguf.families import IDS, made
from tests.modes import not_private, umask
from tests.train import tiny_run
from tests.train.tiny_run import NAME, Mishap, started


def adapter_folder() -> Path:
    return paths.adapters_folder() / NAME


def of(kind: Any, told: list[Event]) -> list[Any]:
    return [event for event in told if isinstance(event, kind)]


def at_step(step: int) -> Callable[[list[Event]], bool]:
    return lambda told: any(event.step == step for event in of(Step, told))


def through(
    asked: TrainRequest, *options: str, mishap: Mishap | None = None
) -> tuple[int, list[Event], bytes]:
    """Train from here to the end: exit code, events, weights."""
    with started(asked, "go", *options, mishap=mishap) as child:
        child.wait_for(lambda told: bool(of(End, told)))
        code = child.wait()
        told = child.told()
    file = adapter_folder() / "adapter_model.safetensors"
    return code, told, file.read_bytes() if file.exists() else b""


def failure(
    asked: TrainRequest, *options: str, mishap: Mishap | None = None
) -> tuple[Failed, End]:
    code, told, _ = through(asked, *options, mishap=mishap)
    assert code == 1
    failed, end = told[-2:]
    assert isinstance(failed, Failed)
    assert isinstance(end, End)
    assert end.finish == "failed"
    return failed, end


def stopped_at(asked: TrainRequest, step: int, *options: str) -> End:
    with started(asked, "go", *options) as child:
        child.wait_for(at_step(step))
        child.say("stop")
        assert child.wait() == 0
        end = child.told()[-1]
    assert isinstance(end, End)
    assert end.finish == "stopped"
    return end


KINDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
}


@dataclass(frozen=True)
class Trained:
    """A training that nobody disturbed; it is only read."""

    home: Path
    told: list[Event]
    weights: bytes


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    done = {}
    with pytest.MonkeyPatch.context() as patch:
        for kind, settings in KINDS.items():
            home = tmp_path_factory.mktemp("trained")
            patch.setenv("LMTUI_HOME", str(home))
            code, told, weights = through(tiny_run.request(home, **settings))
            assert code == 0
            done[kind] = Trained(home, told, weights)
    return done


@pytest.fixture
def trained(trainings: dict[str, Trained], monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setenv("LMTUI_HOME", str(trainings["float32"].home))
    return trainings["float32"]


@pytest.fixture(scope="module")
def unbroken(trainings: dict[str, Trained]) -> dict[str, bytes]:
    return {kind: trained.weights for kind, trained in trainings.items()}


def test_training_through_the_client_makes_an_adapter(home: Path) -> None:
    asked = tiny_run.request(home)
    (home / "notes" / "picture.png").write_bytes(b"\x89PNG\0\0")
    told: list[Event] = []
    with umask(0):
        training = WorkerProcess.start(asked)
        while not of(End, told):
            told += training.poll()
            sleep(tiny_run.LOOKS)
            if of(Plan, told) and not of(events.Start, told):
                assert not_private(paths.runs_folder()) == {}
                training.go()
        assert training.wait(60)
    assert not_private(paths.adapters_folder()) == {}
    (plan,), (end,) = of(Plan, told), of(End, told)
    assert (plan.base, plan.method, plan.dtype) == ("base", "lora", "float32")
    assert (plan.files, plan.documents + plan.held_out_documents) == (12, 12)
    assert [skip.path for skip in of(events.Skip, told)] == ["picture.png"]
    assert plan.skipped == 1
    assert plan.memory > 50e6
    assert plan.seconds > 0
    assert "".join(piece.text for piece in plan.sample)
    assert end.finish == "done"
    assert end.adapter == NAME
    steps, evals = of(Step, told), of(Eval, told)
    assert [step.step for step in steps] == list(range(1, plan.steps + 1))
    assert evals[0].step == 0
    assert evals[-1].step == plan.steps
    for kind in (events.Sample, Saved):
        assert [event.step for event in of(kind, told)] == [e.step for e in evals]
    last = (event for event in told[:-1] if getattr(event, "step", None) == plan.steps)
    assert [*map(type, last)] == [Step, Eval, events.Sample, Saved]
    assert evals[-1].loss < evals[0].loss
    assert end.best_step == min(evals[1:], key=lambda e: e.loss).step
    assert not RunFolder.named(NAME).path.exists()


def test_adapter_folder_is_complete_and_names_no_local_path(trained: Trained) -> None:
    card = folders.find(NAME).card
    assert card is not None
    evals = of(Eval, trained.told)
    assert card.metrics.before is not None
    assert card.metrics.after is not None
    assert card.metrics.before["loss"] == pytest.approx(evals[0].loss)
    best = next(e for e in evals if e.step == card.metrics.best_step)
    assert card.metrics.after["loss"] == pytest.approx(best.loss, rel=1e-6)
    assert card.base.name == "base"
    assert len(card.data.files) == 12
    assert {file.name for file in adapter_folder().iterdir()} >= {
        "adapter_config.json",
        "card.json",
        "report.md",
        "report.json",
        "events.jsonl",
        "tokenizer.json",
    }
    for file in adapter_folder().iterdir():
        assert str(trained.home).encode() not in file.read_bytes(), file.name


def test_counts_of_plan_report_and_adapter_agree(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    (plan,) = of(Plan, trained.told)
    report = json.loads((adapter_folder() / "report.json").read_text())
    assert plan.held_out_tokens == report["before"]["tokens"]
    assert len(report["documents"]) == plan.held_out_documents
    held_out = f"the {plan.held_out_documents} held-out documents"
    assert held_out in report["verdict"]["sentence"]
    assert main(["adapters", "show", NAME]) == 0
    parts = f"{plan.documents} to train on, {plan.held_out_documents} held out"
    assert f"12 files, 12 documents: {parts}" in capsys.readouterr().out


def test_command_in_the_report_gives_its_numbers(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads((adapter_folder() / "report.json").read_text())
    assert main(["adapters", "show", NAME]) == 0
    shown = capsys.readouterr().out
    command = report["inspect"]
    assert command in shown
    assert command in (adapter_folder() / "report.md").read_text()
    program, *arguments = shlex.split(command)
    assert program == "lmtui" and arguments[1] == "FILE"
    assert len(report["documents"]) > 1
    for document in report["documents"]:
        arguments[1] = str(trained.home / "notes" / document["path"])
        assert main([*arguments, "--json", "--threads", "1"]) == 0
        lines = map(json.loads, capsys.readouterr().out.splitlines())
        before, after = (line for line in lines if line["event"] == "summary")
        assert before["mean_nll"] == pytest.approx(document["loss_before"], abs=1e-4)
        assert after["mean_nll"] == pytest.approx(document["loss_after"], abs=1e-4)


@pytest.mark.parametrize("method", ["full", "scratch"])
def test_full_and_scratch_trainings_make_whole_models(home: Path, method: str) -> None:
    code, told, _ = through(tiny_run.request(home, method=method, lr=1e-3))
    assert code == 0, told[-2:]
    engine = LocalEngine.open(str(home / "base"), adapter=NAME, device="cpu")
    assert engine.info.adapter == NAME
    config = json.loads((adapter_folder() / "config.json").read_text())
    assert config.get("use_cache", True)
    for file in adapter_folder().iterdir():
        assert str(home).encode() not in file.read_bytes(), file.name


@pytest.mark.parametrize(
    ("kind", "after"), zip([*KINDS] * 2, [1, 4, 7, 10], strict=True)
)
def test_training_killed_at_any_step_reaches_the_same_weights(
    home: Path, unbroken: dict[str, bytes], kind: str, after: int
) -> None:
    asked = tiny_run.request(home, **KINDS[kind])
    with started(asked, "go") as child:
        child.wait_for(at_step(after))
        child.kill()
        child.wait()
    code, told, weights = through(asked, "resume")
    assert code == 0, told[-2:]
    assert weights == unbroken[kind]


SAVING = "lmtui.train.checkpoints"
POINTS = (
    Mishap("lmtui.paths", "write_atomically", 2),  # nothing is saved yet
    Mishap("lmtui.paths", "seal", 1),  # the first checkpoint is not complete
    Mishap("lmtui.paths", "seal", 3),
    Mishap(SAVING, "save_file", 5),  # between two files of one
    Mishap(SAVING, "save_best", 2),
    Mishap("shutil", "rmtree", 9),  # while an older one is removed
    Mishap(SAVING, "load_best", 1),
    Mishap("lmtui.train.save", "save_adapter", 1),
    Mishap("lmtui.train.save", "_move_into_place", 1),
)


@pytest.mark.parametrize("point", POINTS, ids=lambda p: f"{p.function}-{p.times}")
def test_training_killed_at_a_delicate_point_reaches_the_same_weights(
    home: Path, unbroken: dict[str, bytes], point: Mishap
) -> None:
    asked = tiny_run.request(home)
    with started(asked, "go", mishap=point) as child:
        assert child.wait() == -signal.SIGKILL
    code, told, weights = through(asked, "resume")
    assert code == 0, told[-2:]
    assert weights == unbroken["float32"]


def test_training_stopped_repeatedly_reaches_the_same_weights(
    home: Path, unbroken: dict[str, bytes]
) -> None:
    asked = tiny_run.request(home)
    for step, options in ((1, ()), (3, ("resume",)), (8, ("resume",))):
        end = stopped_at(asked, step, *options)
        assert end.step >= step
        assert RunFolder.named(NAME).last_checkpoint == end.step
    code, told, weights = through(asked, "resume")
    assert code == 0
    resumed = [start.resumed_from for start in of(events.Start, told)]
    assert resumed[0] is None
    assert all(resumed[1:])
    assert weights == unbroken["float32"]


def test_training_pauses_between_steps(home: Path) -> None:
    with started(tiny_run.request(home, epochs=500, patience=5_000), "go") as child:
        child.wait_for(at_step(1))
        child.say("pause")
        told = child.wait_for(lambda told: Paused(True) in told)
        assert isinstance(told[-1], Paused)
        child.say("resume")
        child.wait_for(lambda told: isinstance(told[-1], Step))
        child.say("pause")
        child.wait_for(lambda told: len(of(Paused, told)) == 3)
        child.say("stop")
        assert child.wait() == 0
        assert of(End, child.told())[-1].finish == "stopped"


def test_plan_only_trains_nothing(home: Path) -> None:
    code, told, _ = through(tiny_run.request(home), "plan_only")
    assert code == 0
    plan = told[-2]
    assert isinstance(plan, Plan)
    assert (plan.lr, plan.rank, plan.batch, plan.block) == (1e-2, 4, 2, 64)
    assert told[-1] == End("declined", 0)
    assert RunFolder.named(NAME).last_checkpoint is None


def test_training_ends_early_without_progress(home: Path) -> None:
    code, told, _ = through(tiny_run.request(home, lr=0.9, epochs=40, patience=2))
    end = told[-1]
    assert code == 0
    assert isinstance(end, End)
    assert end.finish == "early"
    evals = of(Eval, told)[1:]
    best = min(evals, key=lambda e: e.loss)
    assert end.best_step == best.step
    assert [e.step for e in evals].index(best.step) == len(evals) - 3


def test_one_note_without_held_out_keeps_the_last_weights(home: Path) -> None:
    asked = tiny_run.request(home, held_out=0.0)
    shutil.rmtree(home / "notes")
    (home / "notes").mkdir()
    (home / "notes" / "a.md").write_text("the quick brown fox\n")
    code, told, _ = through(asked)
    assert code == 0
    (plan,), end = of(Plan, told), told[-1]
    assert NOTHING_HELD_OUT in plan.notes
    assert not of(Eval, told)
    assert isinstance(end, End)
    assert end.best_step == end.step == plan.steps == 2


# What goes wrong.


def test_changed_notes_are_refused_unless_forced_and_no_longer_held_out(
    home: Path,
) -> None:
    asked = tiny_run.request(home)
    stopped_at(asked, 2)
    manifest = RunFolder.named(NAME).read_manifest()
    assert manifest is not None
    changed, *others = manifest.held_out
    assert others
    (home / "notes" / changed).write_text("the quick brown fox " * 50)
    (home / "notes" / "new.md").write_text("the lazy dog " * 30)
    failed, _ = failure(asked, "resume")
    assert failed.title == "the notes have changed since the training began"
    assert failed.detail == f"changed: {changed}, new: new.md"
    code, told, weights = through(replace(asked, force=True), "resume")
    assert code == 0
    assert weights
    assert any("have changed" in note for note in of(Plan, told)[-1].notes)
    card = json.loads((adapter_folder() / "card.json").read_text())
    assert card["data"]["held_out"] == len(others)


def test_missing_or_changed_base_model_is_refused(home: Path) -> None:
    asked = tiny_run.request(home)
    stopped_at(asked, 2)
    weights = load_file(home / "base" / "model.safetensors")
    changed = {name: w + 1 for name, w in weights.items()}
    save_file(changed, home / "base" / "model.safetensors", metadata={"format": "pt"})
    failed, _ = failure(asked, "resume")
    assert failed.title == "the model has changed since the training began"
    shutil.rmtree(home / "base")
    failed, end = failure(asked, "resume")
    assert str(home / "base") in failed.detail
    assert end.step == RunFolder.named(NAME).last_checkpoint


def nan_at(times: int) -> Mishap:
    return Mishap("lmtui.train.trainer", "add_gradient", times, "nan")


def test_nan_loss_keeps_the_last_good_weights(home: Path) -> None:
    failed, end = failure(tiny_run.request(home), mishap=nan_at(15))
    assert failed.title == "the loss is no longer a number"
    assert failed.detail == "in step 8; the adapter has the weights of step 7"
    assert failed.hint == "Train with a lower rate than --lr 0.01."
    assert (end.adapter, end.best_step) == (NAME, 7)
    weights = load_file(adapter_folder() / "adapter_model.safetensors")
    assert all(bool(weight.isfinite().all()) for weight in weights.values())


def test_nan_loss_in_the_first_step_leaves_no_adapter(home: Path) -> None:
    failed, end = failure(tiny_run.request(home), mishap=nan_at(1))
    assert failed.detail == "in step 1"
    assert end.adapter is None
    assert not adapter_folder().exists()


def test_full_disk_leaves_the_saved_checkpoint(
    home: Path, unbroken: dict[str, bytes]
) -> None:
    asked = tiny_run.request(home)
    failed, end = failure(asked, mishap=Mishap(SAVING, "save_file", 8, "disk"))
    assert failed.title == "the disk is full"
    assert end.step == RunFolder.named(NAME).last_checkpoint == 4
    _, _, weights = through(asked, "resume")
    assert weights == unbroken["float32"]


def test_full_disk_is_found_before_steps_are_timed(home: Path) -> None:
    full = Mishap("lmtui.cache_dir", "free_bytes", 1, "disk")
    _, told, _ = through(tiny_run.request(home), "plan_only", mishap=full)
    (failed,) = of(Failed, told)
    assert failed.title == "the disk is full"
    assert not of(Plan, told)
    assert not any("timing" in doing.what for doing in of(events.Doing, told))


def test_taken_name_loses_nothing_until_it_is_overwritten(home: Path) -> None:
    asked = tiny_run.request(home)
    adapter_folder().mkdir(parents=True)
    (adapter_folder() / "old.txt").touch()
    failed, end = failure(asked)
    assert failed.title == "an adapter of this name already exists"
    assert [file.name for file in adapter_folder().iterdir()] == ["old.txt"]
    assert end.step == RunFolder.named(NAME).last_checkpoint
    code, _, weights = through(replace(asked, overwrite=True), "resume")
    assert code == 0
    assert weights
    assert not (adapter_folder() / "old.txt").exists()
    assert [folder.name for folder in adapter_folder().parent.iterdir()] == [NAME]


def test_a_block_longer_than_the_context_is_refused(home: Path) -> None:
    failed, _ = failure(tiny_run.request(home, block=500))
    assert failed.hint == "Give --block 128 or less."


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen3.5, 4 value heads"])
def test_gguf_file_is_trained_and_answers_with_the_adapter_beside_its_blocks(
    family: str, home: Path
) -> None:
    _, file = made(family, home, "Q8_0")
    code, told, weights = through(replace(tiny_run.request(home), base=str(file)))
    assert code == 0 and weights
    first, *_, last = of(Eval, told)
    assert last.loss < first.loss
    ids = IDS[:8]

    def logprobs(adapter: str | None, quantize: Any) -> torch.Tensor:
        asked = {"device": "cpu", "quantize": quantize}
        engine = LocalEngine.open(str(file), adapter=adapter, **asked)
        assert (engine.info.precision == "fast") == (quantize == "auto")
        return torch.cat([*engine.backend.all_logits(ids)]).log_softmax(-1)

    exact, fast = (logprobs(NAME, quantize) for quantize in ("none", "auto"))
    alone = logprobs(None, "none")
    assert (exact.exp() * (exact - fast)).sum(-1).mean() < 1e-3
    assert (exact.exp() * (exact - alone)).sum(-1).mean() > 0.02
