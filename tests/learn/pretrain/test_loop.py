"""The pretraining itself: its numbers, its events, and that they come again."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from typing import Any

import pytest
import torch

from lmtui.errors import LmtuiError
from lmtui.learn.pretrain import loop
from lmtui.learn.pretrain.events import (
    Evaluated,
    Event,
    Finished,
    Passed,
    ReferenceLines,
    Snapshot,
    Started,
    Stepped,
    from_json,
)
from lmtui.learn.pretrain.loop import reference_lines
from lmtui.learn.pretrain.model import ByteModel
from lmtui.learn.pretrain.options import PretrainOptions
from lmtui.learn.pretrain.text_split import TextSplit
from lmtui.train.events import to_json
from tests.learn.pretrain import tiny
from tests.test_text import obeyed

HOSTILE = bytes(range(256)) * 10 + "\u202e\u2066\x1b[2J\x9b".encode() * 100


@cache
def trained(**given: Any) -> list[Event]:
    """The events of a tiny pretraining."""
    return list(loop.events(tiny.text(), tiny.options(**given)))


def of(kind: Any, events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# The model before the first step.


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_begins_at_the_uniform_line(seed: int) -> None:
    model = ByteModel(PretrainOptions(seed=seed))  # of the real size
    loss = model.held_out_loss(tiny.text(1_000))
    assert loss == pytest.approx(math.log(256), abs=0.05)


@pytest.mark.parametrize("size", [2, 3, 15, 16, 17, 24, 25, 400])
def test_held_out_loss_scores_each_byte_once_with_enough_context(size: int) -> None:
    model, data = ByteModel(tiny.options()), tiny.text(400)[:size]
    losses = []
    for index in range(1, size):
        # Windows of 16 start at multiples of 8; the first that reaches the byte counts.
        start = 8 * max(0, math.ceil((index - 15) / 8))
        losses.append(-model.logprobs(data[start:index])[data[index]].item())
    expected = math.fsum(losses) / len(losses)
    assert model.held_out_loss(data) == pytest.approx(expected, abs=1e-5)


def test_bars_are_the_softmax_of_the_model() -> None:
    model, split = ByteModel(tiny.options()), TextSplit.of(tiny.text())
    (first, *_) = of(Snapshot, trained())
    assert len(first.rows) == 2
    for bars, prompt in zip(first.rows, split.prompts(), strict=True):
        ids = torch.tensor([list(prompt[-16:])])
        probs = model.model(input_ids=ids).logits[0, -1].softmax(-1)
        assert bytes.fromhex(bars.prompt) == prompt
        shown = {int(row.bytes, 16): row.prob for row in bars.rows}
        best = probs.topk(10)
        assert set(shown) == set(best.indices.tolist())
        for byte, prob in shown.items():
            assert prob == pytest.approx(probs[byte].item(), abs=1e-6)
        entropy = -(probs * probs.log()).sum().item()
        assert bars.entropy == pytest.approx(entropy, abs=1e-4)


# The reference lines.


def naive_line(split: TextSplit, order: int) -> float:
    """The loss of interpolated Kneser-Ney, as its definition reads."""
    text = split.training
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

    held_out = split.held_out
    losses = [
        -math.log(prob(held_out[max(0, i - order + 1) : i], held_out[i]))
        for i in range(1, len(held_out))
    ]
    return math.fsum(losses) / len(losses)


def test_reference_lines_equal_their_definition() -> None:
    # Bytes that are seen once and twice, so that no order lacks its discount.
    split = TextSplit.of(b"!?" + b"#" * 2 + "àèìè".encode() + tiny.text(2_000))
    lines = reference_lines(split)
    assert lines.uniform == math.log(256)
    assert lines.unigram == pytest.approx(naive_line(split, 1), abs=1e-9)
    assert lines.bigram == pytest.approx(naive_line(split, 2), abs=1e-9)
    assert lines.trigram == pytest.approx(naive_line(split, 3), abs=1e-9)


def test_line_is_passed_below_it_alone() -> None:
    lines = ReferenceLines(4.0, 3.0, 2.0, 1.0)
    assert lines.passed_by(4.0) == ()
    assert lines.passed_by(1.5) == ("uniform", "unigram", "bigram")


# The events.


def test_events_are_complete_and_in_order() -> None:
    started, *events = trained()
    assert isinstance(started, Started)
    split = TextSplit.of(tiny.text())
    assert started.vocabulary == 256
    assert started.training_bytes == len(split.training)
    assert started.held_out_bytes == len(split.held_out) - 1
    assert (started.steps, started.seconds) == (12, None)
    assert started.parameters == ByteModel(tiny.options()).parameters
    assert "by heart" in started.remark
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.step == 12
    assert finished.epochs == pytest.approx(12 * 4 * 16 / len(split.training))
    assert [event.step for event in of(Snapshot, events)] == [0, 10, 12]
    assert [event.step for event in of(Evaluated, events)] == list(range(13))
    assert [event.step for event in events] == sorted(event.step for event in events)
    stepped = of(Stepped, events)
    assert sum(len(event.losses) for event in stepped) == 12
    assert stepped[-1].tokens == 12 * 4 * 16
    times = [event.seconds for event in events]
    assert times[0] == 0


def test_snapshot_has_the_loss_of_its_evaluation() -> None:
    losses = {event.step: event.loss for event in of(Evaluated, trained())}
    for snapshot in of(Snapshot, trained()):
        assert snapshot.loss == losses[snapshot.step]
    finished = trained()[-1]
    assert isinstance(finished, Finished)
    assert finished.best_loss == losses[finished.best_step] == min(losses.values())
    assert finished.loss == losses[12]


def test_every_snapshot_shows_the_same_prompts_and_sums_to_one() -> None:
    snapshots = of(Snapshot, trained())
    assert len({shot.prompt for shot in snapshots}) == 1
    assert len({tuple(bars.prompt for bars in shot.rows) for shot in snapshots}) == 1
    for bars in (bars for shot in snapshots for bars in shot.rows):
        probs = [row.prob for row in bars.rows]
        assert len(probs) == 10
        assert probs == sorted(probs, reverse=True)
        assert math.fsum(probs) + bars.rest == pytest.approx(1, abs=1e-6)
        panel = bars.distribution
        assert [c.prob for c in panel.candidates] == pytest.approx(probs)
        assert panel.rest_prob == bars.rest


def test_given_prompts_are_shown() -> None:
    events = trained(steps=1, prompts=("the lazy", "世"), sample_prompt="a ")
    shot = of(Snapshot, events)[-1]
    assert [bars.prompt_text for bars in shot.rows] == ["the lazy", "世"]
    assert shot.prompt_text == "a "
    assert len(bytes.fromhex(shot.sample)) == 8


def test_lines_are_passed_once_and_only_where_an_evaluation_is_below() -> None:
    events = trained(steps=40, lr=0.02)
    started = events[0]
    assert isinstance(started, Started)
    passed = of(Passed, events)
    assert {"uniform"} <= {event.line for event in passed}
    evaluations = [event for event in of(Evaluated, events) if event.step]
    for line in ("uniform", "unigram", "bigram", "trigram"):
        level = getattr(started.lines, line)
        below = [event.step for event in evaluations if event.loss < level]
        steps = [event.step for event in passed if event.line == line]
        assert steps == below[:1]


def test_same_seed_gives_the_same_training() -> None:
    again = list(loop.events(tiny.text(), tiny.options()))
    assert figures(again) == figures(trained())
    assert figures(trained(seed=1)) != figures(trained())


def figures(events: list[Event]) -> list[Any]:
    """All that is not a time, nor depends on one."""
    losses = [loss for event in of(Stepped, events) for loss in event.losses]
    evaluated = [(event.step, event.loss) for event in of(Evaluated, events)]
    shown = [(shot.sample, shot.rows) for shot in of(Snapshot, events)]
    return [losses, evaluated, shown]


def test_training_lowers_the_loss_of_held_out_text() -> None:
    losses = [event.loss for event in of(Evaluated, trained(steps=40, lr=0.02))]
    assert losses[-1] < losses[0] - 1


def test_training_part_alone_is_trained_on() -> None:
    data = tiny.text()
    split = TextSplit.of(data)
    other = split.training + b"Z" * len(data[len(split.training) :])
    one, two = trained(), list(loop.events(other, tiny.options()))
    assert figures(one)[0] == figures(two)[0]


def test_time_ends_the_training_where_no_steps_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(clock)))
    events = list(loop.events(tiny.text(), tiny.options(steps=None, seconds=200)))
    started, finished = events[0], events[-1]
    assert isinstance(started, Started)
    assert isinstance(finished, Finished)
    assert (started.seconds, started.steps) == (200, None)
    assert finished.seconds >= 200
    assert finished.step >= 10
    assert len(of(Evaluated, events)) < finished.step


def test_loss_that_is_no_number_is_an_error() -> None:
    with pytest.raises(LmtuiError, match="no longer a number"):
        model, split = ByteModel(tiny.options()), TextSplit.of(tiny.text())
        next(model.model.parameters()).data.fill_(math.nan)
        list(loop.PretrainLoop(model, split, tiny.options()).run())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.5, 1.0, 1.5])
def test_learning_rate_stays_between_zero_and_its_peak(share: float) -> None:
    assert 0 < loop.rate_share(share) <= 1


# Bytes that are no text.


def test_hostile_bytes_are_shown_safely() -> None:
    events = list(loop.events(HOSTILE, tiny.options(steps=2, sample_bytes=200)))
    for shot in of(Snapshot, events):
        rows = [row.text for bars in shot.rows for row in bars.rows]
        prompts = [bars.prompt_text for bars in shot.rows]
        for text in (shot.sample_text, shot.prompt_text, *rows, *prompts):
            assert obeyed(text) <= {"\n", "\t"}
            text.encode()
    for event in events:
        line = to_json(event)
        assert not obeyed(line)
        assert from_json(line) == event
