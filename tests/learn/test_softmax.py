"""The page of softmax: each column against its definition, and the draws."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from lmtui import notation
from lmtui.engine.engine import LocalEngine
from lmtui.engine.sampling.chain import filter_logits
from lmtui.engine.sampling.draw import draw as draw_one
from lmtui.engine.sampling.draw import draw_many
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.learn.instruments.softmax import TEMPERATURES, SoftmaxInstrument, draw
from tests.engine import tiny
from tests.fakes import FakeEngine
from tests.learn.instruments import answer, column, made, table_of

TEXT = "the cat sat on the"


def shown(engine: Any, **options: Any) -> SoftmaxInstrument:
    instrument = made(SoftmaxInstrument, text=TEXT, **options)
    answer(engine, instrument.begin())
    return instrument


def raw_logits() -> torch.Tensor:
    ids = tiny.engine().encode(TEXT).ids
    with torch.inference_mode():
        return tiny.model()(torch.tensor([list(ids)])).logits[0, -1].double()


@pytest.mark.parametrize("step", [0, 4, len(TEMPERATURES) - 1])
def test_each_column_is_its_definition(engine: LocalEngine, step: int) -> None:
    instrument = shown(engine, rows=5)
    instrument.slide(-len(TEMPERATURES))
    instrument.slide(step)
    table, temperature = table_of(instrument), TEMPERATURES[step]
    assert table.title.endswith(f"T = {temperature:g}")
    logits = raw_logits()
    order = logits.argsort(descending=True, stable=True)[:5]
    scaled = logits / temperature
    weights = (scaled - scaled.max()).exp()
    probs = scaled.softmax(0)
    rest, total = float(weights.sum() - weights[order].sum()), float(weights.sum())
    assert column(table, "logit")[:5] == [
        notation.number(float(logits[i])) for i in order
    ]
    assert column(table, "÷ T")[:5] == [
        notation.number(float(scaled[i])) for i in order
    ]
    assert column(table, "exp") == [
        *(notation.weight(float(weights[i])) for i in order),
        notation.weight(rest),
        notation.weight(total),
    ]
    bars = [cells[-1].bar[0] for cells in table.rows[:-1]]
    assert bars[:5] == pytest.approx(probs[order].tolist(), abs=1e-6)
    assert bars[5] == pytest.approx(rest / total, abs=1e-6)
    assert math.fsum(bars) == pytest.approx(1)
    assert column(table, "÷ Σ")[-1] == "100%"
    assert column(table, "÷ Σ")[:5] == [notation.chance(float(probs[i])) for i in order]
    assert column(table, "token")[5] == f"{len(logits) - 5:,} others"


def test_slider_stops_at_both_ends_and_says_so(engine: LocalEngine) -> None:
    instrument = shown(engine)
    instrument.slide(100)
    assert table_of(instrument).title.endswith("T = 0.1")
    instrument.slide(1)
    assert "least temperature" in instrument.message
    assert instrument.done == set()
    instrument.slide(-100)
    assert instrument.message == ""
    assert table_of(instrument).title.endswith("T = 5")
    assert instrument.done == {"slid"}
    instrument.slide(-1)
    assert "greatest temperature" in instrument.message


def test_draws_come_from_the_distribution_at_the_temperature() -> None:
    logits = raw_logits().float()
    values = logits.numpy().astype("<f4").tobytes()
    counts: Counter[int] = Counter()
    for seed in range(50):
        counts.update(draw(values, 0.5, seed))
    assert counts.total() == 50_000
    probs = (logits.double() / 0.5).softmax(0)
    likely = [i for i in range(len(logits)) if 50_000 * probs[i] >= 5]
    rest = 50_000 - sum(counts[i] for i in likely)
    expected = [50_000 * float(probs[i]) for i in likely]
    observed = [*(counts[i] for i in likely), rest]
    assert chisquare(observed, [*expected, 50_000 - sum(expected)]).pvalue > 1e-3


def test_draws_are_counted_beside_what_is_expected(engine: LocalEngine) -> None:
    instrument = shown(engine, rows=5)
    answer(engine, instrument.act("draw"))
    assert instrument.done == {"drawn"}
    table = table_of(instrument)
    counts = [int(text.replace(",", "")) for text in column(table, "drawn")]
    assert sum(counts[:-1]) == counts[-1] == 1000
    logits = raw_logits()
    probs = logits.softmax(0)[logits.argsort(descending=True, stable=True)[:5]]
    expected = [1000 * float(prob) for prob in probs]
    expected.append(1000 - sum(expected))
    assert column(table, "expected")[:-1] == [
        notation.number(count, ",.1f") for count in expected
    ]
    assert all(count >= 5 for count in expected)
    test = chisquare(counts[:-1], expected)
    assert f"χ² = {test.statistic:,.1f}, 5 degrees of freedom" in table.title
    assert notation.percent(float(test.pvalue)) in table.title
    assert notation.percent(float(test.pvalue)) in table.note
    shares = [cells[5].bar[1] for cells in table.rows[:-1]]
    assert shares == [count / 1000 for count in counts[:-1]]


def test_draws_add_up_until_something_changes(engine: LocalEngine) -> None:
    instrument = shown(engine)
    for _ in range(2):
        answer(engine, instrument.act("draw"))
    assert "2,000 draws" in table_of(instrument).title
    assert "thousands" not in instrument.done
    answer(engine, instrument.act("draw"))
    assert instrument.done == {"drawn", "thousands"}
    instrument.slide(1)
    assert "draws" not in table_of(instrument).title
    answer(engine, instrument.act("draw"))
    answer(engine, instrument.follow(f"{TEXT} mat"))
    assert "typed" in instrument.done
    assert "draws" not in table_of(instrument).title
    answer(engine, instrument.act("draw"))
    assert instrument.act("clear") is None
    assert "draws" not in table_of(instrument).title


def test_same_draws_come_again_on_a_fresh_page(engine: LocalEngine) -> None:
    first, second = shown(engine), shown(engine)
    for instrument in (first, second):
        answer(engine, instrument.act("draw"))
    assert first.figure == second.figure
    answer(engine, second.act("draw"))
    drawn = [column(table_of(shown), "drawn") for shown in (first, second)]
    assert [2 * int(n.replace(",", "")) for n in drawn[0]] != drawn[1]


def test_counts_of_a_single_class_can_not_be_tested() -> None:
    instrument = shown(FakeEngine(), rows=1)  # all logits are 0: the row is too small
    answer(FakeEngine(), instrument.act("draw"))
    assert "χ² needs a second row" in table_of(instrument).title
    assert "nothing to compare" in table_of(instrument).note


def test_page_says_what_a_server_does_not_tell() -> None:
    fake = FakeEngine()
    look = fake.next_distribution

    def listed(*arguments: Any, **options: Any) -> Any:
        return replace(look(*arguments, **options), top_logprobs=20)

    fake.next_distribution = listed  # type: ignore[method-assign]
    last = shown(fake).figure[-1]
    assert "The server tells the 20 most probable tokens only" in last.text


@given(st.integers(0, 2**32), st.integers(1, 200))
def test_many_draws_are_as_many_single_draws(seed: int, count: int) -> None:
    logits = torch.randn(400, generator=torch.Generator().manual_seed(seed)) * 3
    plain = SamplingSettings(temperature=0.8, top_k=0, top_p=1, min_p=0)
    sampled = filter_logits(logits, plain)
    many = draw_many(sampled, torch.Generator().manual_seed(seed), count)
    generator = torch.Generator().manual_seed(seed)
    assert many.tolist() == [draw_one(sampled, generator) for _ in range(count)]
