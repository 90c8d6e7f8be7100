"""The page of counting models: its bits and bars against models counted apart."""

from __future__ import annotations

import math

import pytest

from lmtui.engine.ngram_model import NgramModel
from lmtui.errors import LmtuiError
from lmtui.learn.instrument import Material
from lmtui.learn.instruments.counts import CountsInstrument
from tests.fakes import FakeEngine
from tests.learn.instruments import answer, made, probs_of

TEXT = "the cat sat on the mat and the dog sat on the log. " * 12


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def instrument(engine: FakeEngine) -> CountsInstrument:
    options = made(CountsInstrument, text="on the").options
    instrument = CountsInstrument(options, Material(TEXT, "cats"))
    answer(engine, instrument.begin())
    return instrument


def test_bits_are_those_of_the_held_out_tenth(
    engine: FakeEngine, instrument: CountsInstrument
) -> None:
    data = TEXT.encode()  # a token of this engine is a byte
    end = len(data) - len(data) // 10
    held_out = data[end:]
    table, _, words = instrument.figure
    own = [token.logprob for token in engine.score(tuple(held_out))][1:]
    expected = [
        -float(
            NgramModel.count([list(data[:end])], order=order, vocabulary=258)
            .score(list(held_out))[1:]
            .sum()
        )
        for order in range(4)
    ]
    expected.append(-math.fsum(value or 0 for value in own))
    for row, nats in zip(table.rows, expected, strict=True):
        assert row[3].text == f"{nats / math.log(2) / (len(held_out) - 1):.3f}"
        assert row[4].text == f"{nats / (len(held_out) - 1):.3f}"
        assert row[5].text == f"{math.exp(nats / (len(held_out) - 1)):,.1f}"
    assert f"{end:,} tokens of cats" in words.text
    assert f"{len(held_out) - 1:,} others" in words.text
    assert float(table.rows[0][3].text) == pytest.approx(math.log2(258), abs=5e-4)


def test_slider_shows_each_model_and_ticks_after_the_last(
    instrument: CountsInstrument,
) -> None:
    data = TEXT.encode()
    end = len(data) - len(data) // 10
    names = ("uniform", "unigram", "bigram", "trigram", "this model")
    assert instrument.figure[0].at == 2
    instrument.slide(99)
    for number, name in enumerate(names):
        table, bars, _ = instrument.figure
        assert (table.at, bars.title) == (number, f"{name}, after “on the”")
        total = math.fsum(probs_of(bars))
        assert total == pytest.approx(1, abs=1e-6)
        if number < 4:
            model = NgramModel.count([list(data[:end])], order=number, vocabulary=258)
            logprobs = model.logprobs(list(b"on the"))
            best = logprobs.sort(descending=True).values[:6].exp()
            assert probs_of(bars)[:-1] == pytest.approx(best.tolist())
        assert ("orders" in instrument.done) == (number == 4)
        assert instrument.slide(-1) is None
    assert instrument.figure[0].at == 4  # there is nothing below
    instrument.slide(99)
    assert instrument.figure[0].at == 0


def test_other_words_are_looked_at_by_all_models(
    engine: FakeEngine, instrument: CountsInstrument
) -> None:
    answer(engine, instrument.submit("on the"))
    assert "entered" not in instrument.done  # the same words
    answer(engine, instrument.submit("sa"))
    assert "entered" in instrument.done
    assert instrument.figure[1].rows[0][0].text == "t"
    assert instrument.submit(" ") is None
    assert "Write something" in instrument.message


def test_short_text_is_refused_with_a_hint(engine: FakeEngine) -> None:
    options = made(CountsInstrument, text="a").options
    instrument = CountsInstrument(options, Material("too short", "x"))
    with pytest.raises(LmtuiError, match="too short to count") as caught:
        answer(engine, instrument.begin())
    assert "at least 200 tokens" in caught.value.hint
    assert instrument.figure == ()
    assert instrument.slide(-1) is None
