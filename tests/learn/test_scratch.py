"""The page of a training from random weights: what it shows of each event."""

from __future__ import annotations

import math
from collections.abc import Iterator
from threading import Event as Flag

import pytest

from lmtui import cancellation
from lmtui.errors import Cancelled
from lmtui.learn.figure import Chart, Table, Words
from lmtui.learn.instrument import Material
from lmtui.learn.instruments import scratch as scratch_module
from lmtui.learn.instruments.scratch import ScratchInstrument
from lmtui.learn.pretrain.loop import Pretraining
from lmtui.learn.pretrain.request import PretrainRequest
from lmtui.train.events import (
    End,
    Event,
    PretrainStart,
    PretrainStep,
    ReferenceLines,
    Snapshot,
)
from tests.fakes import FakeEngine
from tests.learn.instruments import answer, bars_of, made, parts_of, probs_of

TEXT = "She was not the one who had been there. It was not she. " * 60


def scratch(text: str = TEXT, **options: object) -> ScratchInstrument:
    whole = made(ScratchInstrument, **options).options
    return ScratchInstrument(whole, Material(text, "x"))


def train_here(request: PretrainRequest) -> Iterator[Event]:
    """The training without a process of its own."""
    told: list[Event] = []
    end = Pretraining(request, told.append).run()
    return iter([*told, end])


@pytest.fixture(scope="module")
def trained() -> ScratchInstrument:
    """The instrument after a training of few steps."""
    instrument = scratch(steps=12, prompt="She was")
    assert instrument.begin() is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratch_module, "pretrain", train_here)
        answer(FakeEngine(), instrument.act("train"))
    return instrument


def test_chart_begins_at_ln_v_and_has_the_lines(trained: ScratchInstrument) -> None:
    (chart,) = parts_of(trained, Chart)
    assert chart.points[0][0] == 0
    assert chart.points[0][1] == pytest.approx(math.log(256), abs=0.1)
    assert [point[0] for point in chart.points] == sorted(p[0] for p in chart.points)
    levels = dict(chart.levels)
    assert levels["uniform"] == math.log(256)
    assert levels["trigram"] < levels["bigram"] < levels["unigram"]


def test_end_of_a_training_is_told_and_ticked(trained: ScratchInstrument) -> None:
    assert "trained" in trained.done
    first = parts_of(trained, Words)[0]
    assert first.text.startswith("12 steps in ")


def test_slider_goes_back_to_the_same_bars_at_step_0(
    trained: ScratchInstrument,
) -> None:
    last = bars_of(trained)
    assert last.title == "Step 12, after “She was”"
    trained.slide(-99)
    assert "looked" in trained.done
    first = bars_of(trained)
    assert first.title == "Step 0, after “She was”"
    for bars in (first, last):
        assert math.fsum(probs_of(bars)) == pytest.approx(1, abs=1e-6)
    assert probs_of(first)[0] < probs_of(last)[0]  # it has learned what is frequent


SNAPSHOT = Snapshot("41", "421b", "41", "42", (0.5,))


def begun() -> ScratchInstrument:
    """The instrument with a training that has begun."""
    instrument = scratch()
    instrument.begin()
    instrument.act("train")
    instrument.hear(PretrainStart(1, 100, ReferenceLines(5.5, 3, 2, 1)))
    return instrument


def test_reaching_a_line_is_reported_only_where_it_happened() -> None:
    instrument = begun()
    instrument.hear(PretrainStep(0, 0.0, 0, (), 5.4))  # by chance
    instrument.hear(PretrainStep(10, 1.5, 0, (5.0,), 5.4))
    instrument.hear(PretrainStep(20, 2.5, 0, (5.0,), 5.3))
    (table,) = parts_of(instrument, Table)
    assert [[cell.text for cell in row[3:]] for row in table.rows] == [
        ["step 10", "2 s"],
        ["not yet", ""],
        ["not yet", ""],
        ["not yet", ""],
    ]
    instrument.hear(PretrainStep(99, 60.0, 300, (), 2.5, SNAPSHOT))
    instrument.hear(End("done", 99))
    *_, table = parts_of(instrument, Table)
    assert table.rows[2][3].text == "not passed"


def test_looking_back_before_the_end_ticks_nothing() -> None:
    instrument = begun()
    instrument.hear(PretrainStep(0, 0.0, 0, (), 5.5, SNAPSHOT))
    instrument.hear(PretrainStep(1, 0.1, 1, (), 5.4, SNAPSHOT))
    instrument.slide(-1)
    assert "looked" not in instrument.done
    *_, sample = parts_of(instrument, Words)
    assert sample.text == "Step 0 writes: AB␛"


def test_another_training_begins_anew_with_another_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scratch_module, "pretrain", train_here)
    instrument = scratch(steps=2)
    answer(FakeEngine(), instrument.act("train"))
    before = instrument.figure
    answer(FakeEngine(), instrument.act("train"))
    assert instrument.figure != before


def test_training_that_runs_is_not_begun_anew() -> None:
    instrument = scratch()
    assert instrument.act("train") is not None
    (words,) = instrument.figure
    assert "starting" in words.text
    assert instrument.act("train") is None
    assert "The training goes on" in instrument.message


def test_stop_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: PretrainRequest) -> Iterator[Event]:
        while not cancellation.requested():
            yield PretrainStep(1, 0.1, 1)

    monkeypatch.setattr(scratch_module, "pretrain", endless)
    instrument = scratch()
    measurement = instrument.act("train")
    assert measurement is not None
    stop = Flag()

    class Context:
        stopped = staticmethod(stop.is_set)
        emit = staticmethod(lambda _: stop.set())

    with pytest.raises(Cancelled):
        measurement.run(FakeEngine(), Context())  # type: ignore[arg-type]
    assert "trained" not in instrument.done
