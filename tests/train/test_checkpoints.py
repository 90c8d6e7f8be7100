"""What is saved can be taken up, and what can't be saved spoils nothing."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch

from lmtui import cache_dir
from lmtui.errors import LmtuiError
from lmtui.train import checkpoints
from lmtui.train.checkpoints import TrainState
from lmtui.train.model import TrainableModel
from lmtui.train.run_folder import RunFolder
from lmtui.train.trainer import adam
from tests.modes import not_private, umask
from tests.train.test_trainer import steps_of
from tests.train.tiny_training import blocks, copied, same, trainable


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def trained(until: int = 2) -> tuple[TrainableModel, torch.optim.Optimizer]:
    subject = trainable()
    optimizer = adam(subject, 1e-2)
    steps_of(subject, blocks(8), optimizer=optimizer, until=until)
    return subject, optimizer


def test_loaded_checkpoint_continues_bit_for_bit(run: RunFolder) -> None:
    subject, optimizer = trained()
    state = TrainState(step=2, evaluated=1, best_step=1, best_loss=0.1, lowest=0.05)
    torch.rand(3)
    checkpoints.save(run, subject.weights, optimizer, state)
    chance = torch.rand(1)
    fresh = trainable()
    other = adam(fresh, 1e-2)
    assert checkpoints.load(run, 2, fresh.weights, other) == state
    assert torch.equal(torch.rand(1), chance)
    assert same(copied(fresh), copied(subject))
    rest = steps_of(fresh, blocks(8), optimizer=other, after=2)
    whole = steps_of(subject, blocks(8), optimizer=optimizer, after=2)
    assert [made.loss for made in rest] == [made.loss for made in whole]
    assert same(copied(fresh), copied(subject))


def test_only_the_newest_checkpoint_is_kept_private_and_without_code(
    run: RunFolder,
) -> None:
    subject, optimizer = trained()
    with umask(0):
        for step in (1, 2, 3):
            checkpoints.save(run, subject.weights, optimizer, TrainState(step=step))
        checkpoints.save_best(run, subject.weights, 2)
    assert run.checkpoints() == (3,)
    assert len(list(run.checkpoints_folder.iterdir())) == 1
    suffixes = {file.suffix for file in run.checkpoint(3).iterdir()}
    assert suffixes == {".safetensors", ".json"}
    assert not_private(run.path) == {}
    assert run.path.stat().st_mode & 0o777 == 0o700


@contextmanager
def little_space() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_dir, "free_bytes", lambda _: 1_000)
        yield


@contextmanager
def small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("limit", "title"),
    [(little_space, "the disk is full"), (small_files, "the checkpoint can't be")],
)
def test_failed_save_leaves_the_older_checkpoint(
    run: RunFolder, limit: Callable[[], AbstractContextManager[None]], title: str
) -> None:
    subject, optimizer = trained()
    checkpoints.save(run, subject.weights, optimizer, TrainState(step=1))
    checkpoints.save_best(run, subject.weights, 1)
    with limit():
        with pytest.raises(LmtuiError, match=title):
            checkpoints.save(run, subject.weights, optimizer, TrainState(step=2))
        with pytest.raises(LmtuiError):
            checkpoints.save_best(run, subject.weights, 2)
    assert run.checkpoints() == (1,)
    assert not run.checkpoint(2).exists()
    assert [file.name for file in run.best_folder.iterdir()] == ["weights.safetensors"]
    assert checkpoints.load_best(run, trainable().weights) == 1


def test_second_save_of_a_step_keeps_its_weights_where_they_are(
    run: RunFolder,
) -> None:
    subject, optimizer = trained()
    checkpoints.save(run, subject.weights, optimizer, TrainState(step=2))
    evaluated = TrainState(step=2, evaluated=2, best_step=2, best_loss=0.5)
    with little_space():
        checkpoints.save(run, subject.weights, optimizer, evaluated)
    fresh = trainable()
    assert checkpoints.load(run, 2, fresh.weights, adam(fresh, 1e-2)) == evaluated
    assert same(copied(fresh), copied(subject))


def test_the_best_weights_replace_those_before(run: RunFolder) -> None:
    subject, _ = trained()
    checkpoints.save_best(run, trainable(seed=3).weights, 1)
    checkpoints.save_best(run, subject.weights, 2)
    fresh = trainable()
    assert checkpoints.load_best(run, fresh.weights) == 2
    assert same(copied(fresh), copied(subject))


@pytest.mark.parametrize("other", [{"rank": 8}, {"method": "full"}])
def test_weights_of_another_model_are_refused(
    run: RunFolder, other: dict[str, object]
) -> None:
    subject, optimizer = trained()
    checkpoints.save(run, subject.weights, optimizer, TrainState(step=2))
    fresh = trainable(**other)
    with pytest.raises(LmtuiError, match="can't be loaded"):
        checkpoints.load(run, 2, fresh.weights, adam(fresh, 1e-2))
