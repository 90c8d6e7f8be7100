"""Finding: nothing missed, nothing twice, every place leads somewhere."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.find import Matches, find, replaced

TEXTS = st.text("aAbB.é\nİßσςΣ漢", max_size=40)
WORDS = st.text("aAbB.é\nİßσςΣ漢", min_size=1, max_size=3)


@given(TEXTS, WORDS)
def test_every_match_equals_the_searched_words(text: str, words: str) -> None:
    for start, end in find(text, words).spans():
        found = text[start:end]
        if any(map(str.isupper, words)):
            assert found == words
        else:
            assert re.fullmatch(re.escape(words), found, re.IGNORECASE)


@given(TEXTS, WORDS)
def test_no_match_is_missed_and_none_overlaps(text: str, words: str) -> None:
    spans = find(text, words).spans()
    gaps = zip((0, *(end for _, end in spans)),
               (*(start for start, _ in spans), len(text)), strict=True)  # fmt: skip
    for start, end in gaps:
        assert start <= end
        assert len(find(text[start:end], words)) == 0


@given(TEXTS, WORDS, st.integers(0, 45), st.integers(0, 45))
def test_within_returns_the_matches_that_overlap_a_range(
    text: str, words: str, low: int, high: int
) -> None:
    matches = find(text, words)
    reach = [span for span in matches.spans() if span[0] < high and span[1] > low]
    assert matches.within(low, high) == tuple(reach)


@given(TEXTS, WORDS)
def test_words_without_capitals_match_any_case(text: str, words: str) -> None:
    words = words.lower().replace("\u0307", "")
    if text.isascii() and words.isascii():
        assert len(find(text, words)) == text.lower().count(words)


@given(TEXTS, WORDS, st.integers(0, 45))
def test_next_and_previous_match_wrap_around(text: str, words: str, place: int) -> None:
    matches = find(text, words)
    starts = [start for start, _ in matches.spans()]
    after = [s for s in starts if s >= place] or starts
    before = [s for s in starts if s < place] or starts
    first, last = matches.at_or_after(place), matches.before(place)
    assert (None if first is None else matches.span(first)[0]) == next(
        iter(after), None
    )
    assert (None if last is None else matches.span(last)[0]) == (before or [None])[-1]


@given(TEXTS, WORDS, st.text("xa", max_size=3))
def test_replaced_equals_replacing_each_match(text: str, words: str, by: str) -> None:
    spans = find(text, words).spans()
    one_by_one = text
    for start, end in reversed(spans):
        one_by_one = one_by_one[:start] + by + one_by_one[end:]
    assert replaced(text, spans, by) == one_by_one


@pytest.mark.parametrize(
    ("text", "words", "starts"),
    [
        ("The cat, the CAT", "the", [0, 9]),
        ("The cat, the CAT", "The", [0]),
        ("The cat, the CAT", "CAT", [13]),
        ("aaaa", "aa", [0, 2]),
        ("a.b axb", "a.b", [0]),
        ("Été", "é", [0, 2]),
        ("text", "", []),
    ],
)
def test_find_returns_the_expected_starts(
    text: str, words: str, starts: list[int]
) -> None:
    assert list(find(text, words).starts) == starts


def test_empty_matches_have_no_neighbours() -> None:
    assert Matches().at_or_after(3) is Matches().before(3) is None
