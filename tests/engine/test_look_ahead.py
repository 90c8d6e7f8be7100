"""Ways on from a context: side by side they are what each would be alone; and tokens
found by what they say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.cancellation import cancelled_when
from lmtui.engine.engine import LocalEngine
from lmtui.engine.types import SamplingSettings
from lmtui.errors import Cancelled, LmtuiError
from lmtui.worker.generation import run_continuations
from tests.engine import tiny

PLAIN = SamplingSettings(temperature=1, top_k=0, top_p=1, min_p=0)
IDS = st.lists(st.integers(3, 300), min_size=1, max_size=40)
STARTS = st.lists(st.integers(3, 300), max_size=20, unique=True)


def one_by_one(engine: LocalEngine, ids: list[int], start: int, more: int) -> list[int]:
    """The way on after a token, one look after the other."""
    way = [start]
    while len(way) <= more:
        shown = engine.next_distribution([*ids, *way], PLAIN, top_n=1)
        way.append(shown.candidates[0].id)
        if way[-1] in engine.end_ids:
            break
    return way


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_continuations_equal_one_start_at_a_time(family: str) -> None:
    engine = tiny.engine(family)

    @settings(max_examples=6, deadline=None)
    @given(ids=IDS, starts=STARTS, more=st.integers(0, 6))
    def check(ids: list[int], starts: list[int], more: int) -> None:
        starts = [start for start in starts if start not in engine.end_ids]
        ways = run_continuations(engine, ids, starts, more)
        assert len(ways) == len(starts)
        for start, way in zip(starts, ways, strict=True):
            own = [token.id for token in way]
            assert own == one_by_one(engine, ids, start, more)
            scored = list(engine.score(own, prefix=ids))
            for token, alone in zip(way, scored, strict=True):
                assert token.logprob == pytest.approx(alone.logprob, abs=1e-4)
                assert token.rank == alone.rank
                assert token.entropy == pytest.approx(alone.entropy, abs=1e-4)
                assert (token.text, token.bytes) == (alone.text, alone.bytes)

    check()


def test_full_context_leaves_alternatives_without_continuation() -> None:
    engine = tiny.engine("llama", context=8)
    for length, more in ((6, 1), (7, 0), (8, 0)):
        ways = run_continuations(engine, [5] * length, [9, 11], 6)
        assert [len(way) for way in ways] == [1 + more] * 2
    with pytest.raises(LmtuiError, match="does not fit"):
        run_continuations(engine, [5] * 9, [9], 6)
    with pytest.raises(LmtuiError, match="nothing to continue"):
        run_continuations(engine, [], [9], 6)


def test_continuations_can_be_cancelled_and_repeated() -> None:
    engine = tiny.engine("llama")
    with pytest.raises(Cancelled), cancelled_when(lambda: True):
        run_continuations(engine, [5, 6, 7], [9, 11], 6)
    (way,) = run_continuations(engine, [5, 6, 7], [9], 6)
    assert [step.id for step in way] == one_by_one(engine, [5, 6, 7], 9, 6)


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
