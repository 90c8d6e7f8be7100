"""The loss chart: a smoothed curve in any width, round numbers, no colour needed."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.chart import (
    DOWN,
    Axes,
    bridged,
    label_line,
    line_rows,
    ticks,
    whole_ticks,
)
from lmtui.train.events import Eval
from lmtui.tui.finetune.loss_chart import (
    EMPTY,
    LossChart,
    epoch_line,
    loss_labels,
    marks_of,
)
from lmtui.tui.finetune.run import TrainingRun
from lmtui.tui.finetune.smoothed_loss import EMA_WEIGHT, SmoothedLoss
from tests.fake_training import PLAN
from tests.tui.hosts import Host, resized, written

LOSSES = st.lists(st.floats(0.01, 12), min_size=1, max_size=400)


def curve_of(losses: list[float]) -> SmoothedLoss:
    curve = SmoothedLoss()
    for step, loss in enumerate(losses, 1):
        curve.add(step, loss)
    return curve


def scored(step: int, loss: float) -> Eval:
    return Eval(step, loss, math.exp(min(loss, 700)), loss / 3, best=False)


# The curve.


@given(LOSSES)
def test_smoothed_loss_is_the_bias_corrected_average(losses: list[float]) -> None:
    count = len(losses)
    weights = [EMA_WEIGHT ** (count - place) for place in range(1, count + 1)]
    products = (weight * loss for weight, loss in zip(weights, losses, strict=True))
    expected = math.fsum(products) / math.fsum(weights)
    assert curve_of(losses).last == pytest.approx(expected)


def test_smoothed_loss_keeps_a_constant_loss() -> None:
    first, *columns = curve_of([2.5] * 50).columns(50, 30)
    assert first is None  # there is no loss before the first step
    assert columns == pytest.approx([2.5] * 29)


@given(LOSSES, st.integers(2, 200))
def test_smoothed_loss_columns_stay_within_the_losses(
    losses: list[float], count: int
) -> None:
    columns = curve_of(losses).columns(len(losses), count)
    known = [value for value in columns if value is not None]
    assert len(columns) == count and known
    assert min(losses) - 1e-6 <= min(known) <= max(known) <= max(losses) + 1e-6
    # Between the first and the last step there is no gap.
    first = next(place for place, value in enumerate(columns) if value is not None)
    assert None not in columns[first:]


def test_smoothed_loss_skips_nan_infinity_and_late_steps() -> None:
    curve = curve_of([1.0, math.nan, math.inf, 3.0])
    curve.add(4, 9.0)
    curve.add(2, 9.0)
    assert (len(curve), curve.end) == (2, 4)
    assert SmoothedLoss().last is None and SmoothedLoss().columns(10, 4) == [None] * 4


def test_columns_cost_the_width_of_the_chart_not_the_steps() -> None:
    class Counted(SmoothedLoss):
        asked = 0

        def _mean(self, first: int, end: int) -> float | None:
            Counted.asked += 1
            return super()._mean(first, end)

    curve = Counted()
    for step in range(1, 20_001):
        curve.add(step, 1 / step)
    curve.columns(20_000, 120)
    assert Counted.asked == 120


def test_a_gap_is_bridged_by_a_straight_line() -> None:
    assert bridged([None, 1.0, None, None, 4.0, None]) == [None, 1, 2, 3, 4, None]


# Dots.


HEIGHTS = st.lists(st.none() | st.integers(0, 31), max_size=60)


def dots_of(rows: list[str]) -> set[tuple[int, int]]:
    """Column and height of every dot that is drawn."""
    order = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
    return {
        (2 * cell + order[bit][0], DOWN * row + order[bit][1])
        for row, text in enumerate(rows)
        for cell, character in enumerate(text)
        for bit in range(8)
        if character != " " and (ord(character) - 0x2800) >> bit & 1
    }


@given(HEIGHTS)
def test_line_rows_draw_every_height_without_a_break(
    heights: list[int | None],
) -> None:
    dots = dots_of(line_rows(heights, 8))
    for column, height in enumerate(heights):
        assert height is None or (column, height) in dots
    for column, (left, right) in enumerate(pairwise(heights)):
        if left is None or right is None:
            continue
        low, high = sorted((left, right))
        both = {y for x, y in dots if x in (column, column + 1)}
        assert set(range(low, high + 1)) <= both
    columns = {column for column, height in enumerate(heights) if height is not None}
    assert {x for x, _ in dots} == columns


def test_line_rows_draw_a_height_outside_at_the_edge() -> None:
    assert dots_of(line_rows([-5, 99], 2)) >= {(0, 0), (1, 7)}


# Axes.


@given(st.floats(0, 100), st.floats(0.001, 100), st.integers(2, 12))
def test_ticks_lie_within_the_axis_and_have_distinct_labels(
    low: float, span: float, most: int
) -> None:
    found = ticks(low, low + span, most)
    values = [value for value, _ in found]
    assert values == sorted(values) and len(values) <= most + 1
    assert all(low - span / 1e6 <= value <= low + span * 1.000001 for value in values)
    assert len({text for _, text in found}) == len(found)
    for value, text in found:
        assert float(text.replace(",", "")) == pytest.approx(value, abs=span / 1e3)


@pytest.mark.parametrize(
    ("low", "high", "most", "texts"),
    [
        (2.31, 3.62, 4, ["2.5", "3.0", "3.5"]),
        (0.0, 10.8, 4, ["0", "5", "10"]),
        (2.4512, 2.4538, 3, ["2.452", "2.453"]),
        (1.0, 1.0, 3, []),
    ],
)
def test_ticks_are_round_numbers(
    low: float, high: float, most: int, texts: list[str]
) -> None:
    assert [text for _, text in ticks(low, high, most)] == texts


@given(st.integers(1, 10**6), st.integers(1, 12))
def test_whole_ticks_begin_at_zero_with_equal_gaps(high: int, most: int) -> None:
    found = whole_ticks(high, most)
    assert found[0] == 0 and found[-1] <= high and len(found) <= most + 2
    assert len({after - before for before, after in pairwise(found)}) <= 1


@given(st.floats(0, 12), st.floats(0.1, 11), st.integers(3, 30))
def test_loss_axis_has_at_least_two_labels(low: float, span: float, rows: int) -> None:
    assert len(loss_labels(low, low + span, rows)) >= 2


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 999_999))))
def test_axis_labels_never_touch(labels: list[tuple[int, int]]) -> None:
    line = label_line(sorted((at, str(number)) for at, number in labels), 60)
    assert len(line) <= 60
    assert set(line.split()) <= {str(number) for _, number in labels}


# The widget.


def run_of(losses: list[float], evals: list[Eval], *, steps: int) -> TrainingRun:
    """A run of three epochs with these losses and evaluations."""
    run = TrainingRun()
    run.plan, run.steps = replace(PLAN, epochs=3.0), steps
    run.curve, run.evals = curve_of(losses), evals
    return run


def chart(losses: list[float], evals: list[Eval], *, steps: int = 0) -> LossChart:
    return LossChart(run_of(losses, evals, steps=steps or len(losses)))


def text_of(widget: LossChart, width: int, height: int) -> list[str]:
    lines = widget.lines(width, height)
    return ["".join(text for text, _ in line) for line in lines]


FALLING = [2.0 + 1.5 * math.exp(-step / 30) for step in range(120)]
POINTS = [scored(step, 2.2 + math.exp(-step / 30)) for step in range(0, 121, 20)]


def test_loss_chart_before_the_first_step_says_what_it_will_show() -> None:
    assert EMPTY in text_of(chart([], []), 60, 12)


def test_loss_chart_tells_its_curves_apart_without_colour() -> None:
    text = "\n".join(text_of(chart(FALLING, POINTS), 80, 18))
    assert text.count("○") == 1 + len(POINTS) - 1  # one in the legend
    assert text.count("●") == 1 + 1
    assert any("\u2800" < character < "\u2900" for character in text)
    for name in ("training", "held-out", "best", "nats a token", "step", "epoch"):
        assert name in text


@given(
    st.lists(st.floats(0.01, 12), max_size=60),
    st.lists(st.tuples(st.integers(0, 60), st.floats(0.01, 12) | st.just(math.nan))),
    st.integers(1, 90),
    st.integers(1, 30),
)
def test_loss_chart_fits_any_size(
    losses: list[float], evals: list[tuple[int, float]], width: int, height: int
) -> None:
    points = [scored(step, loss) for step, loss in sorted(evals)]
    lines = text_of(chart(losses, points, steps=60), width, height)
    assert all(cell_len(line) <= width for line in lines)
    plotted = [line for line in lines if "│" in line or "┤" in line]
    assert not plotted or len(lines) <= height


def test_loss_chart_draws_a_falling_loss_downwards() -> None:
    rows = text_of(chart(FALLING, []), 60, 15)
    heights = [
        row for column in (10, 30, 55) for row, line in enumerate(rows)
        if column < len(line) and "\u2800" < line[column] < "\u2900"
    ]  # fmt: skip
    assert heights == sorted(heights) and len(set(heights)) > 2


def test_best_eval_is_marked_even_in_a_shared_cell() -> None:
    points = [scored(10, 2.0), scored(11, 2.001), scored(90, 3.0)]
    marks = marks_of(points, Axes(1.9, 3.1, 0, 100, 27, 6))
    assert sorted(sign for sign, _ in marks.values()) == ["○", "●"]


def test_loss_chart_zooms_in_on_the_first_steps_of_a_run() -> None:
    widget = chart([3.0, 2.9, 2.8, 2.7], [], steps=1000)
    assert 4 <= widget._steps_shown() <= 8
    assert chart(FALLING, [], steps=200)._steps_shown() == 200


def test_epoch_line_names_epochs_between_their_ends() -> None:
    line = epoch_line(50.0, Axes(0, 1, 0, 150, 68, 5))
    assert line.split() == ["1", "│", "2", "│", "3"]
    assert (
        epoch_line(0.5, Axes(0, 1, 0, 150, 68, 5)).count("│") > 10
    )  # no room for names


async def test_loss_chart_is_redrawn_after_a_resize() -> None:
    widget = chart(FALLING, POINTS)
    app = Host(widget)
    async with app.run_test(size=(80, 20)) as pilot:
        wide = written(widget)
        await resized(pilot, 40, 10)
        small = written(widget)
        assert len(wide) == 20 and len(small) == 10
        assert "●" in app.text()
        assert max(map(cell_len, app.lines())) <= 40
