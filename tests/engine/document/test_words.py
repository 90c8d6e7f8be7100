"""The word at a place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.document.words import (
    can_cut,
    in_word,
    letter_case,
    spans_of_words,
    word_at,
    words_like,
)


@pytest.mark.parametrize(
    ("marked", "word"),
    [
        ("|the cat", "the"),
        ("t|he cat", "the"),
        ("the| cat", "the"),
        ("the |cat", "cat"),
        ("the cat|", "cat"),
        ("the  |  cat", ""),
        ("|", ""),
        ("don|'t.", "don't"),
        ("don't|.", "don't"),
        ("don't.|", ""),
        ("3.1|4 m", "3.14"),
        ("e\u0301te\u0301|!", "e\u0301te\u0301"),
    ],
)
def test_word_at_returns_the_word_at_an_offset(marked: str, word: str) -> None:
    text, place = marked.replace("|", ""), marked.index("|")
    start, end = word_at(text, place)
    assert text[start:end] == word
    assert word or start == end == place


@given(st.text(alphabet="ab '.3é漢\n👩\u200d", max_size=12), st.data())
def test_word_at_cuts_only_at_word_boundaries(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(text)))
    start, end = word_at(text, place)
    assert 0 <= start <= place <= end <= len(text)
    if start < end:
        assert can_cut(text, start) and (end == len(text) or can_cut(text, end))
        assert in_word(text[start])


@given(st.text(alphabet="ab '.3é漢_\n👩\u200d", max_size=16))
def test_spans_of_words_are_words(text: str) -> None:
    taken = 0
    for start, end in spans_of_words(text):
        assert taken <= start < end
        assert word_at(text, start) == (start, end)
        taken = end


@pytest.mark.parametrize(
    ("word", "case"),
    [
        ("cat", "lower"),
        ("don't", "lower"),
        ("Cat", "title"),
        ("NATO", "upper"),
        ("iPhone", "mixed"),
        ("42", "none"),
        ("", "none"),
    ],
)
def test_letter_case_names_how_a_word_is_written(word: str, case: str) -> None:
    assert letter_case(word) == case


def test_words_like_are_the_nearest_of_the_same_case() -> None:
    text = "far Paris 42 near a cat sat NATO near, then"
    start = text.index("cat")
    found = words_like(text, start, start + 3, count=4)
    assert found == ["cat", "a", "sat", "near"]
    assert words_like(text, 4, 9, count=4) == ["Paris"]
