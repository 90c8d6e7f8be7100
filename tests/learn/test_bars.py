"""The page with the bars: its numbers against the engine's own, and its exercises."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmtui import notation
from lmtui.engine.types import SamplingSettings
from lmtui.learn.figure import Bars, Words
from lmtui.learn.instrument import Material
from lmtui.learn.instruments.bars import BarsInstrument
from lmtui.learn.plain import figure_lines
from tests.fakes import FakeEngine
from tests.learn.instruments import Naive, answer, made

TEXT = "The cat sat on the"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def bars_of(instrument: BarsInstrument) -> Bars:
    """The bars of its figure."""
    return next(part for part in instrument.figure if isinstance(part, Bars))


def shown(engine: FakeEngine, **options: Any) -> BarsInstrument:
    """The instrument once it has begun."""
    instrument = made(BarsInstrument, text=TEXT, **options)
    answer(engine, instrument.begin())
    return instrument


def test_pinned_words_have_their_rank_wherever_they_are() -> None:
    naive = Naive()
    tokens = naive.engine.describe_tokens(range(naive.engine.info.vocabulary))
    words = [t for t in tokens if t.text[:1] == " " and t.text[1:].isalpha()][::9][:3]
    pinned = ", ".join(each.text.strip() for each in words)
    instrument = made(BarsInstrument, text=TEXT, rows=2, pinned=f"{pinned}, no token")
    answer(naive.engine, instrument.begin())
    rows = bars_of(instrument).pinned
    assert [row.candidate.id for row in rows] == [each.id for each in words]
    for row in rows:
        text = f"{TEXT}{row.candidate.text}"
        assert naive.ids(text)[-1] == row.candidate.id
        assert row.rank == naive.ranks(text)[-1]
        assert row.candidate.logprob == pytest.approx(
            naive.logprobs(text)[-1], abs=1e-4
        )
    assert sum("rank " in line for line in figure_lines(instrument.figure)) == len(rows)


def test_bars_are_the_distribution_after_the_text(engine: FakeEngine) -> None:
    bars = bars_of(shown(engine))
    ids = engine.encode(TEXT).ids
    whole = engine.next_distribution(ids, SamplingSettings(), top_n=8)
    assert [row.id for row in bars.rows] == [row.id for row in whole.candidates]
    assert [row.logprob for row in bars.rows] == [r.logprob for r in whole.candidates]
    assert all(row.sampled_prob is None for row in bars.rows)
    total = math.fsum(row.prob for row in bars.rows) + bars.rest_prob
    assert total == pytest.approx(1, abs=1e-9)
    assert "together: 100.0%" in bars.note


def test_each_keystroke_is_followed(engine: FakeEngine) -> None:
    instrument = shown(engine)
    assert not instrument.done
    answer(engine, instrument.follow(f"{TEXT} m"))
    assert instrument.done == {"typed"}
    assert "on the m”" in bars_of(instrument).title
    ids = engine.encode(f"{TEXT} m").ids
    first = engine.next_distribution(ids, SamplingSettings()).candidates[0]
    assert bars_of(instrument).rows[0].logprob == first.logprob


def test_last_word_has_the_product_of_its_tokens(engine: FakeEngine) -> None:
    instrument = shown(engine, word="mat")
    text = f"{TEXT} mat"
    answer(engine, instrument.take(text))
    assert instrument.done == {"word"}
    tokens = list(engine.score(engine.encode(text).ids))[len(TEXT) :]
    prob = math.exp(sum(token.logprob or 0 for token in tokens))
    said = next(part for part in instrument.figure if isinstance(part, Words))
    assert f"“mat” was given {notation.chance(prob)}: " in said.text
    assert "it is 4 tokens" in said.text
    for token in tokens:
        assert f"{token.rank:,}" in said.text


def test_another_word_does_not_count(engine: FakeEngine) -> None:
    instrument = shown(engine, word="mat")
    answer(engine, instrument.take(f"{TEXT} dog"))
    assert instrument.done == set()


def test_sure_needs_more_than_nine_tenths(engine: FakeEngine) -> None:
    instrument = shown(engine)
    rows = bars_of(instrument).rows
    assert rows[0].prob < 0.9
    assert "sure" not in instrument.done
    found = engine.next_distribution(engine.encode(TEXT).ids, SamplingSettings())
    first = found.candidates[0]._replace(logprob=math.log(0.91))
    sure = replace(found, candidates=(first, *found.candidates[1:]))
    engine.next_distribution = lambda *_, **__: sure  # type: ignore[method-assign]
    answer(engine, instrument.follow(f"{TEXT} x"))
    assert "sure" in instrument.done


def test_empty_text_and_single_word_say_what_to_do(engine: FakeEngine) -> None:
    instrument = shown(engine)
    assert instrument.follow("  ") is None
    assert "Write something" in instrument.message
    assert instrument.take("word") is None
    assert "at least two words" in instrument.message
    assert bars_of(instrument).rows  # what was there stays


def test_own_text_gives_the_example(engine: FakeEngine) -> None:
    own = Material("Too short. This is a sentence of my own text.", "m", is_own=True)
    instrument = BarsInstrument(made(BarsInstrument, text=TEXT).options, own)
    answer(engine, instrument.begin())
    assert instrument.entered == "This is a sentence of my own text."


@pytest.mark.real
def test_page_holds_on_the_default_model(
    default_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMTUI_HOME", str(default_home))
    from lmtui.engine.engine import LocalEngine

    engine = LocalEngine.open()
    instrument = made(BarsInstrument, text=TEXT, word="banana")
    answer(engine, instrument.begin())
    answer(engine, instrument.take(f"{TEXT} banana"))
    answer(engine, instrument.follow("The capital of France is Paris. The capital of"))
    assert "word" in instrument.done
