"""The pretraining itself: what is held out, its numbers, and that they come again."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lmtui.errors import LmtuiError
from lmtui.learn.pretrain import loop
from lmtui.learn.pretrain.loop import (
    SCORED_BYTES,
    Pretraining,
    first_words,
    reference_lines,
    split,
)
from lmtui.learn.pretrain.model import ByteModel
from lmtui.learn.pretrain.request import (
    LEAST_BYTES,
    SMALL_BYTES,
    PretrainRequest,
    small_text_remark,
)
from lmtui.train.events import PretrainStart, PretrainStep, Snapshot
from lmtui.train.trainer import NonFiniteLoss
from tests.learn.pretrain import tiny

TEXTS = st.binary(min_size=1, max_size=60).flatmap(
    lambda part: st.integers(LEAST_BYTES, 100_000).map(
        lambda size: (part * (size // len(part) + 1))[:size]
    )
)


@cache
def trained(**given: Any) -> tuple[PretrainStart, list[PretrainStep]]:
    return tiny.trained(tiny.request(**given))


def snapshots(steps: list[PretrainStep]) -> list[Snapshot]:
    return [step.snapshot for step in steps if step.snapshot is not None]


# What is held out.


@given(TEXTS)
def test_parts_share_no_byte_and_keep_their_order(data: bytes) -> None:
    training, held_out = split(data)
    assert data.startswith(training + held_out)
    assert len(training) >= 0.85 * len(data)
    assert min(0.05 * len(data), SCORED_BYTES) <= len(held_out) <= SCORED_BYTES
    assert held_out.startswith(first_words(held_out))


def test_held_out_part_begins_with_a_line_and_whole_characters() -> None:
    data = tiny.request().data
    assert b"\n" + split(data)[1] in data
    split("世界".encode() * 2_000)[1].decode()


def test_too_small_a_text_is_refused_and_a_small_one_remarked_on() -> None:
    with pytest.raises(LmtuiError, match="too small") as caught:
        split(b"x" * (LEAST_BYTES - 1))
    assert f"{LEAST_BYTES:,}" in caught.value.hint
    assert small_text_remark(SMALL_BYTES) == ""
    assert "by heart" in small_text_remark(SMALL_BYTES - 1)


# The model before the first step.


def test_loss_begins_at_the_uniform_line() -> None:
    model = ByteModel(PretrainRequest(""))  # of the real size
    loss = model.held_out_loss(tiny.text(1_000).encode())
    assert loss == pytest.approx(math.log(256), abs=0.05)


@pytest.mark.parametrize("size", [2, 16, 17, 25, 100])
def test_held_out_loss_scores_each_byte_once_with_enough_context(size: int) -> None:
    model, data = ByteModel(tiny.request()), tiny.text(100).encode()[:size]
    losses = []
    for index in range(1, size):
        # Windows of 16 start at multiples of 8; the first that reaches the byte counts.
        start = 8 * max(0, math.ceil((index - 15) / 8))
        losses.append(-model.logprobs(data[start:index])[data[index]].item())
    expected = math.fsum(losses) / len(losses)
    assert model.held_out_loss(data) == pytest.approx(expected, abs=1e-5)


# The reference lines.


def naive_line(text: bytes, held_out: bytes, order: int) -> float:
    """The loss of interpolated Kneser-Ney, as its definition reads."""
    counts = {order: Counter(text[i : i + order] for i in range(len(text) - order + 1))}
    for size in range(order - 1, 0, -1):
        longer = {text[i : i + size + 1] for i in range(len(text) - size)}
        counts[size] = Counter(ngram[1:] for ngram in longer)
        counts[size][text[:size]] += 1  # the start of the text stands before it, too

    def prob(context: bytes, byte: int) -> float:
        p = 1 / 256
        for size in range(1, len(context) + 2):
            before = context[len(context) - size + 1 :]
            after = {n: c for n, c in counts[size].items() if n[:-1] == before}
            if not after:
                break
            times = Counter(counts[size].values())
            discount = times[1] / (times[1] + 2 * times[2])
            seen = after.get(before + bytes([byte]), 0)
            own = (seen - discount) if seen else 0.0
            p = (own + discount * len(after) * p) / sum(after.values())
        return p

    losses = [
        -math.log(prob(held_out[max(0, i - order + 1) : i], held_out[i]))
        for i in range(1, len(held_out))
    ]
    return math.fsum(losses) / len(losses)


def test_reference_lines_equal_their_definition() -> None:
    # Bytes that are seen once and twice, so that no order lacks its discount.
    parts = split(b"!?" + b"#" * 2 + "àèìè".encode() + tiny.text(2_000).encode())
    lines = reference_lines(*parts)
    assert lines.uniform == math.log(256)
    assert lines.unigram == pytest.approx(naive_line(*parts, 1), abs=1e-9)
    assert lines.bigram == pytest.approx(naive_line(*parts, 2), abs=1e-9)
    assert lines.trigram == pytest.approx(naive_line(*parts, 3), abs=1e-9)


# The training.


def test_events_are_complete_and_in_order() -> None:
    start, steps = trained()
    training, _ = split(tiny.request().data)
    assert start.training_bytes == len(training)
    assert start.parameters == ByteModel(tiny.request()).parameters
    assert [step.step for step in steps if step.snapshot] == [0, 10, 12]
    evaluated = [step.step for step in steps if step.held_out is not None]
    assert evaluated == [*range(13), 12]
    assert [step.step for step in steps] == sorted(step.step for step in steps)
    assert sum(len(step.losses) for step in steps) == 12
    assert steps[-1].tokens == 12 * 4 * 16
    assert steps[0].seconds == 0


def test_every_snapshot_shows_the_model_after_the_same_text() -> None:
    model, (_, held_out) = ByteModel(tiny.request()), split(tiny.request().data)
    first, *others = snapshots(trained()[1])
    words = first_words(held_out)
    assert bytes.fromhex(first.prompt) == words
    assert bytes.fromhex(first.context) == words + b" "
    ids = torch.tensor([list((words + b" ")[-16:])])
    best = model.model(input_ids=ids).logits[0, -1].softmax(-1).topk(6)
    assert [*bytes.fromhex(first.top_bytes)] == best.indices.tolist()
    assert first.top_probs == pytest.approx(best.values.tolist(), abs=1e-6)
    for other in others:
        assert (other.prompt, other.context) == (first.prompt, first.context)
        assert list(other.top_probs) == sorted(other.top_probs, reverse=True)
    (given, *_) = snapshots(trained(steps=1, prompt="世")[1])
    assert given.prompt == given.context == "世".encode().hex()
    assert len(bytes.fromhex(given.sample)) == 8


def test_same_seed_gives_the_same_training() -> None:
    def figures(steps: list[PretrainStep]) -> list[Any]:
        """All that is not a time, nor depends on one."""
        losses = [loss for step in steps for loss in step.losses]
        evaluated = [step.held_out for step in steps if step.held_out is not None]
        return [losses, evaluated, snapshots(steps)]

    again = tiny.trained(tiny.request())[1]
    assert figures(again) == figures(trained()[1])
    assert figures(trained(seed=1)[1]) != figures(again)


def test_training_lowers_the_loss_of_held_out_text() -> None:
    steps = trained(steps=40, lr=0.02)[1]
    losses = [step.held_out for step in steps if step.held_out is not None]
    assert losses[-1] < losses[0] - 1


def test_training_part_alone_is_trained_on() -> None:
    data = tiny.request().data
    training, _ = split(data)
    other = training + b"Z" * (len(data) - len(training))
    changed = tiny.trained(tiny.request(other.decode()))[1]
    losses = [[x for s in steps for x in s.losses] for steps in (changed, trained()[1])]
    assert losses[0] == losses[1]


def test_time_ends_the_training_where_no_steps_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(clock)))
    _, steps = tiny.trained(tiny.request(steps=None, seconds=200))
    assert steps[-1].seconds >= 200
    assert steps[-1].step >= 10
    assert len([s for s in steps if s.held_out is not None]) < steps[-1].step


def test_loss_that_is_no_number_is_an_error() -> None:
    def spoil(event: object) -> None:
        if isinstance(event, PretrainStep):
            next(pretraining._model.model.parameters()).data.fill_(math.nan)

    pretraining = Pretraining(tiny.request(), spoil)
    with pytest.raises(NonFiniteLoss):
        pretraining.run()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.5, 1.0, 1.5])
def test_learning_rate_stays_between_zero_and_its_peak(share: float) -> None:
    assert 0 < loop.rate_share(share) <= 1
