"""The trainer's steps are the ones that the definition asks for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from lmtui.engine.engine import LocalEngine
from lmtui.train.cpu_kernels import Rounded
from lmtui.train.dataset import Block
from lmtui.train.model import TrainableModel
from lmtui.train.schedule import Schedule
from lmtui.train.settings import TrainSettings
from lmtui.train.trainer import (
    NonFiniteLoss,
    Sequences,
    StepResult,
    adam,
    share_of_loss,
    together,
    train,
)
from tests.engine import tiny
from tests.train.tiny_training import LENGTH, blocks, copied, same, trainee

SETTINGS = TrainSettings(batch=3, epochs=2, lr=1e-2)


def schedule_for(count: int, settings: TrainSettings = SETTINGS) -> Schedule:
    return Schedule(count, settings)


def steps_of(
    subject: TrainableModel,
    made_of: tuple[Block, ...],
    folder: Path,
    *,
    schedule: Schedule | None = None,
    optimizer: Any = None,
    after: int = 0,
    until: int = 999,
    clip: float = 1.0,
) -> list[StepResult]:
    """Train, and what was told of it."""
    told: list[StepResult] = []

    def after_step(made: StepResult) -> bool:
        told.append(made)
        return made.step < until

    train(
        subject,
        optimizer or adam(subject, 1e-2),
        Sequences(made_of, schedule or schedule_for(len(made_of)), after),
        clip=clip,
        after_step=after_step,
        folder=folder,
    )
    return told


def plain_steps(
    subject: TrainableModel, made_of: tuple[Block, ...], schedule: Schedule
) -> list[float]:
    """The same from first principles: one mean over all tokens of a step that count."""
    model, weights = subject.model, list(subject.weights.values())
    optimizer = torch.optim.AdamW(weights, lr=1.0, weight_decay=0)
    losses = []
    for step in range(1, schedule.steps + 1):
        logprobs = []
        for index in schedule.blocks_of(step):
            ids = torch.tensor([made_of[index].ids])
            counts = torch.tensor(made_of[index].trained[1:])
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
            picked = functional.log_softmax(logits, -1).gather(1, ids[0, 1:, None])
            logprobs.append(picked.squeeze(1)[counts])
        loss = -torch.cat(logprobs).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.param_groups[0]["lr"] = schedule.rate(step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_steps_equal_those_from_first_principles(
    method: str, tmp_path: Path
) -> None:
    made_of, expected = blocks(7), trainee(method=method)
    losses = plain_steps(expected, made_of, schedule_for(7))
    found = trainee(method=method)
    told = steps_of(found, made_of, tmp_path)
    assert [made.step for made in told] == [1, 2, 3, 4, 5]
    assert [made.loss for made in told] == pytest.approx(losses, rel=1e-4)
    for name, weight in found.weights.items():
        torch.testing.assert_close(weight, expected.weights[name], rtol=1e-3, atol=1e-3)


def test_a_steps_loss_weighs_tokens_not_blocks(tmp_path: Path) -> None:
    subject, made_of = trainee(), blocks(3)
    counts = [sum(block.trained[1:]) for block in made_of]
    assert len(set(counts)) == 3
    sequences = Sequences(made_of, schedule_for(3), 0)
    sums = []
    for index in sequences.schedule.blocks_of(1):
        alone = Sequences((made_of[index],), schedule_for(1), 0)[0]
        mean = share_of_loss(subject, together([alone]))
        sums.append(float(mean) * counts[index])
    (made, *_) = steps_of(subject, made_of, tmp_path)
    assert made.loss == pytest.approx(sum(sums) / sum(counts), rel=1e-5)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_loss_of_a_block_is_what_the_engine_scores(family: str) -> None:
    subject = trainee(family)
    block = blocks(1)[0]
    batch = together([Sequences((block,), schedule_for(1), 0)[0]])
    subject.model.train()
    found = float(share_of_loss(subject, batch))
    engine: LocalEngine = subject.engine()
    logprobs = [t.logprob for t in engine.score(block.ids, window=LENGTH)][1:]
    counted = [
        logprob
        for logprob, counts in zip(logprobs, block.trained[1:], strict=True)
        if counts and logprob is not None
    ]
    assert found == pytest.approx(-math.fsum(counted) / len(counted), abs=1e-4)


def test_steps_report_learning_rate_and_gradient_norm(tmp_path: Path) -> None:
    schedule = schedule_for(6)
    told = steps_of(trainee(), blocks(6), tmp_path, clip=0.01)
    assert [made.lr for made in told] == pytest.approx(
        [schedule.rate(made.step) for made in told]
    )
    assert all(made.grad_norm > 0.01 for made in told)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("half", [False, True])
def test_training_lowers_the_loss(method: str, half: bool, tmp_path: Path) -> None:
    settings = TrainSettings(batch=2, epochs=12, lr=2e-2, method=method)  # type: ignore[arg-type]
    subject = trainee(half=half, method=method)
    schedule = schedule_for(4, settings)
    told = steps_of(subject, blocks(4), tmp_path, schedule=schedule)
    assert told[-1].loss < 0.8 * told[0].loss
    assert {weight.dtype for weight in subject.weights.values()} == {torch.float32}


@pytest.mark.parametrize("method", ["lora", "full", "scratch"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_the_loss_falls_in_bfloat16_as_in_float32(
    family: str, method: str, tmp_path: Path
) -> None:
    settings = TrainSettings(batch=2, epochs=30, lr=1e-2)
    schedule = schedule_for(2, settings)
    exact, rounded = (
        [
            made.loss
            for made in steps_of(
                trainee(family, half=half, method=method),
                blocks(2),
                tmp_path,
                schedule=schedule,
            )
        ]
        for half in (False, True)
    )
    assert exact[-1] < 0.4 * exact[0]
    # Measured: 0.05 and 0.16. With copies of the first weights: 0.06 to 0.96, and 1.7
    # or more.
    assert rounded == pytest.approx(exact, abs=0.1 * exact[0])
    assert rounded[-1] == pytest.approx(exact[-1], rel=0.5)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_every_step_computes_with_the_weights_of_the_last_one(
    family: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded, uses = Rounded.__call__, []

    def checked(copy: Rounded) -> torch.Tensor:
        half = rounded(copy)
        uses.append(torch.equal(half, copy._weight.detach().to(torch.bfloat16)))
        return half

    monkeypatch.setattr(Rounded, "__call__", checked)
    subject, made_of = trainee(family, half=True, method=method), blocks(7)
    batch = together([Sequences(made_of, schedule_for(7), 0)[0]])

    def after_step(_: StepResult) -> bool:
        share_of_loss(subject, batch)  # an evaluation in bfloat16
        return True

    train(
        subject,
        adam(subject, 1e-2),
        Sequences(made_of, schedule_for(7), 0),
        clip=1.0,
        after_step=after_step,
        folder=tmp_path,
    )
    assert uses
    assert all(uses)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_continued_training_equals_an_unbroken_one(method: str, tmp_path: Path) -> None:
    made_of, through = blocks(8), trainee(method=method)
    whole = steps_of(through, made_of, tmp_path)
    halted = trainee(method=method)
    optimizer = adam(halted, 1e-2)
    steps_of(halted, made_of, tmp_path, optimizer=optimizer, until=2)
    rest = steps_of(halted, made_of, tmp_path, optimizer=optimizer, after=2)
    assert [m.loss for m in rest] == [m.loss for m in whole[2:]]
    assert same(copied(halted), copied(through))


def test_training_ends_after_the_step_asked_for(tmp_path: Path) -> None:
    assert [m.step for m in steps_of(trainee(), blocks(8), tmp_path, until=3)] == [
        1,
        2,
        3,
    ]


def test_nan_loss_raises_and_changes_no_weight(tmp_path: Path) -> None:
    subject = trainee()
    steps_of(subject, blocks(6), tmp_path, until=1)
    norm: Any = subject.loaded.model.model.norm
    before = copied(subject)
    norm.weight.data.fill_(math.nan)
    with pytest.raises(NonFiniteLoss) as caught:
        steps_of(subject, blocks(6), tmp_path, after=1)
    assert caught.value.step == 2
    assert same(copied(subject), before)


def test_infinite_gradient_ends_the_training(tmp_path: Path) -> None:
    subject = trainee()
    weight = next(iter(subject.weights.values()))
    weight.register_hook(lambda grad: grad * math.inf)
    with pytest.raises(NonFiniteLoss):
        steps_of(subject, blocks(6), tmp_path)


def test_checkpointing_activations_changes_no_number(tmp_path: Path) -> None:
    plain, saving = trainee(), trainee()
    saving.checkpoint_activations()
    expected = steps_of(plain, blocks(6), tmp_path)
    found = steps_of(saving, blocks(6), tmp_path)
    assert [m.loss for m in found] == pytest.approx([m.loss for m in expected])
    assert [m.grad_norm for m in found] == pytest.approx(
        [m.grad_norm for m in expected]
    )


def test_the_models_configuration_is_left_as_it_was(tmp_path: Path) -> None:
    subject = trainee()
    kept = subject.loaded.model.config.use_cache
    steps_of(subject, blocks(3), tmp_path)
    assert subject.loaded.model.config.use_cache == kept
    assert not list(tmp_path.iterdir())


def test_tokens_are_counted_without_padding() -> None:
    ids, trained = (5,) * 8, (True,) * 5 + (False,) * 3
    sequences = Sequences((Block(ids, trained, real=5),), schedule_for(1), 0)
    assert sequences.tokens(1) == 5
    assert sequences.counted == 4
    assert len(sequences) == 2
    with pytest.raises(IndexError):
        sequences[2]
