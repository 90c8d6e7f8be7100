"""The page with the bars: its numbers against the engine's own, and its exercises."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from lmtui import notation
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.learn.figure_lines import figure_text
from lmtui.learn.instruments.bars import BarsInstrument
from lmtui.text import visible_token
from tests.fakes import FakeEngine
from tests.learn.instruments import (
    Naive,
    answer,
    bars_of,
    made,
    probs_of,
    texts_of,
    words_of,
)

TEXT = "The cat sat on the"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def shown(engine: FakeEngine, **options: Any) -> BarsInstrument:
    instrument = made(BarsInstrument, text=TEXT, **options)
    answer(engine, instrument.begin())
    return instrument


def test_pinned_words_have_their_rank_wherever_they_are(naive: Naive) -> None:
    tokens = naive.engine.describe_tokens(range(naive.engine.info.vocabulary))
    words = [t for t in tokens if t.text[:1] == " " and t.text[1:].isalpha()][::9][:3]
    pinned = ", ".join(word.text.strip() for word in words)
    instrument = made(BarsInstrument, text=TEXT, rows=2, pinned=f"{pinned}, no token")
    answer(naive.engine, instrument.begin())
    rows = [cells for cells in bars_of(instrument).rows if cells[-1].text]
    assert len(rows) == len(words)
    for cells, word in zip(rows, words, strict=True):
        text = f"{TEXT}{word.text}"
        assert naive.ids(text)[-1] == word.id
        assert cells[0].text == visible_token(word.text)
        assert cells[-1].text == f"rank {naive.ranks(text)[-1]:,}"
        prob = math.exp(naive.logprobs(text)[-1])
        assert cells[1].bar == (pytest.approx(prob, rel=1e-3),)
    assert sum("rank " in line for line in figure_text(instrument.figure)) == len(rows)


def test_bars_are_the_distribution_after_the_text(engine: FakeEngine) -> None:
    bars = bars_of(shown(engine))
    ids = engine.encode(TEXT).ids
    whole = engine.next_distribution(ids, SamplingSettings(), top_n=8)
    probs = [*(row.prob for row in whole.candidates), whole.rest_prob]
    assert probs_of(bars) == probs
    assert all(len(cells[1].bar) == 1 for cells in bars.rows)
    names = [visible_token(row.text) for row in whole.candidates]
    assert [row[0] for row in texts_of(bars)] == [*names, "all others"]
    assert math.fsum(probs) == pytest.approx(1, abs=1e-9)
    assert "together: 100.0%" in bars.note


def test_each_keystroke_is_followed(engine: FakeEngine) -> None:
    instrument = shown(engine)
    answer(engine, instrument.follow(f"{TEXT} pasted words"))
    assert not instrument.done
    for text in (f"{TEXT} ", f"{TEXT} m"):
        answer(engine, instrument.follow(text))
    assert instrument.done == {"typed"}
    assert "on the m”" in bars_of(instrument).title
    ids = engine.encode(f"{TEXT} m").ids
    first = engine.next_distribution(ids, SamplingSettings()).candidates[0]
    assert probs_of(bars_of(instrument))[0] == first.prob


def test_last_word_has_the_product_of_its_tokens(engine: FakeEngine) -> None:
    instrument = shown(engine, word="mat")
    text = f"{TEXT} mat"
    answer(engine, instrument.follow(text))
    answer(engine, instrument.submit(text))
    assert instrument.done == {"word"}
    assert instrument.submit("word") is None
    assert "at least two words" in instrument.message
    tokens = list(engine.score(engine.encode(text).ids))[len(TEXT) :]
    prob = math.exp(sum(token.logprob or 0 for token in tokens))
    said = words_of(instrument)
    assert f"“mat” was given {notation.chance(prob)}: " in said
    assert "it is 4 tokens" in said
    for token in tokens:
        assert f"{token.rank:,}" in said


def test_sure_needs_more_than_nine_tenths(engine: FakeEngine) -> None:
    instrument = shown(engine)
    assert probs_of(bars_of(instrument))[0] < 0.9
    assert "sure" not in instrument.done
    found = engine.next_distribution(engine.encode(TEXT).ids, SamplingSettings())
    first = found.candidates[0]._replace(logprob=math.log(0.91))
    sure = replace(found, candidates=(first, *found.candidates[1:]))
    engine.next_distribution = lambda *_, **__: sure  # type: ignore[method-assign]
    answer(engine, instrument.follow(f"{TEXT} x"))
    assert "sure" in instrument.done
