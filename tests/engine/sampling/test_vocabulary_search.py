"""Tokens are found by their text, with their ranks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.engine.sampling_settings import SamplingSettings
from tests.engine import tiny

PLAIN = SamplingSettings(temperature=1, top_k=0, top_p=1, min_p=0)
IDS = st.lists(st.integers(3, 300), min_size=1, max_size=40)


@settings(max_examples=20, deadline=None)
@given(ids=IDS, text=st.sampled_from(["the", "The", " ", "é", "x", "⟨", "no such", ""]))
def test_search_vocabulary_finds_tokens_with_their_ranks(
    ids: list[int], text: str
) -> None:
    engine = tiny.engine("llama")
    drawn = SamplingSettings(top_k=7)
    handle = engine.next_distribution(ids, drawn).handle
    whole = engine.preview(handle, drawn, count=engine.info.vocabulary).candidates
    found = engine.search_vocabulary(handle, text, drawn, count=1000)
    cased = text != text.lower()
    fits = {
        row.id: row for row in whole
        if text and text in (row.text if cased else row.text.lower())
    }  # fmt: skip
    assert {each.candidate.id for each in found.rows} == set(fits)
    assert found.total == len(found.rows) == len(fits)
    for each in found.rows:
        assert each.candidate == fits[each.candidate.id]
        above = sum(row.logprob > each.candidate.logprob for row in whole)
        assert each.rank >= above + 1
        assert whole[each.rank - 1].logprob == each.candidate.logprob


def test_search_vocabulary_lists_exact_matches_first() -> None:
    engine = tiny.engine("llama")
    handle = engine.next_distribution([5, 6], PLAIN).handle
    texts = [
        each.candidate.text
        for each in engine.search_vocabulary(handle, "o", PLAIN).rows
    ]
    exact = [text for text in texts if text.removeprefix(" ").lower() == "o"]
    assert texts[: len(exact)] == exact and exact
    assert len(engine.search_vocabulary(handle, "o", PLAIN, count=2).rows) == 2
    with pytest.raises(KeyError):
        engine.search_vocabulary(-5, "o", PLAIN)
