"""Plausible slips: edit distances, lookups by spelling, and neighbouring words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.engine.document.typos import (
    EditKind,
    WordIndex,
    doubled,
    edit_distance,
    is_function_word,
    other_words,
    swapped,
)

LETTERS = st.text(alphabet="abcé", max_size=6)


def edits(word: str) -> set[str]:
    """All words one edit from `word`."""
    cuts = [(word[:i], word[i:]) for i in range(len(word) + 1)]
    one = {a + b[1:] for a, b in cuts if b}
    one |= {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
    one |= {a + c + b[1:] for a, b in cuts if b for c in "abcé"}
    return one | {a + c + b for a, b in cuts for c in "abcé"}


@given(LETTERS, LETTERS)
def test_edit_distance_is_symmetric_and_bounded(a: str, b: str) -> None:
    far = edit_distance(a, b, most=9)
    assert far == edit_distance(b, a, most=9)
    assert abs(len(a) - len(b)) <= far <= max(len(a), len(b))
    assert (far == 0) == (a == b)
    assert (far > 2) == (edit_distance(a, b, most=2) > 2)


@given(LETTERS)
def test_words_one_edit_away_have_edit_distance_one(word: str) -> None:
    for other in edits(word) - {word}:
        assert edit_distance(word, other, most=2) == 1


@given(st.sets(LETTERS, max_size=30), LETTERS)
def test_index_finds_the_words_that_are_near(words: set[str], word: str) -> None:
    most = 1 if len(word) <= 4 else 2
    near = {
        other
        for other in words
        if len(other) > 1 and 0 < edit_distance(word, other, most=most) <= most
    }
    assert set(WordIndex(words).near(word)) == (near if len(word) > 1 else set())


@pytest.mark.parametrize(
    ("word", "other", "kind"),
    [
        ("intrested", "interested", EditKind.MISSPELT),
        ("Intrested", "Interested", EditKind.MISSPELT),
        ("farm", "form", EditKind.SIMILAR),
        ("of", "on", EditKind.FUNCTION_WORD),
        ("Of", "On", EditKind.FUNCTION_WORD),
        ("paris", "Paris", EditKind.LETTER_CASE),
        ("The", "the", EditKind.LETTER_CASE),
    ],
)
def test_other_words_have_the_kind_of_their_slip(
    word: str, other: str, kind: EditKind
) -> None:
    vocabulary = WordIndex(["interested", "farm", "form", "from"])
    found = list(other_words(word, vocabulary, WordIndex(())))

    assert (other, kind) in found


@pytest.mark.parametrize(
    ("before", "word", "after", "other", "kind"),
    [
        ("", "It's", "light", "Its", EditKind.CONFUSED),
        ("the", "see", "", "sea", EditKind.CONFUSED),
        ("the", "ship’s", "sail", "ships", EditKind.CONFUSED),
        ("could", "of", "gone", "have", EditKind.UNGRAMMATICAL),
        ("more", "then", "most", "than", EditKind.UNGRAMMATICAL),
        ("", "Your", "going", "You're", EditKind.UNGRAMMATICAL),
        ("They", "was", "lost", "were", EditKind.UNGRAMMATICAL),
        ("is", "alot", "to", "a lot", EditKind.UNGRAMMATICAL),
        ("had", "wrote", "it", "written", EditKind.UNGRAMMATICAL),
    ],
)
def test_words_that_writers_confuse_are_tried(
    before: str, word: str, after: str, other: str, kind: EditKind
) -> None:
    empty = WordIndex(())
    found = dict(reversed([*other_words(word, empty, empty, between=(before, after))]))

    assert found[other] == kind


@pytest.mark.parametrize(
    ("word", "right"),
    [("recieved", "received"), ("Dont", "Don't"), ("lihgt’s", "light’s")],
)
def test_misspelt_word_is_looked_up(word: str, right: str) -> None:
    spelling = WordIndex(["received", "don't", "light"])
    empty = WordIndex(())
    found = dict(other_words(word, empty, empty, spelling=spelling))

    assert found[right] == EditKind.UNKNOWN


def test_number_has_no_other_words() -> None:
    assert list(other_words("42", WordIndex(["43"]), WordIndex(()))) == []


def test_function_words_are_known_in_any_case() -> None:
    assert is_function_word("Of") and not is_function_word("city")


@pytest.mark.parametrize(
    ("first", "between", "second", "other"),
    [
        ("at", " ", "stay", "stay at"),
        ("At", " ", "stay", "Stay at"),
        ("at", "\n", "stay", "stay\nat"),
        ("at", "\n\n", "stay", None),
        ("at", ", ", "stay", None),
    ],
)
def test_swapped_words_stay_in_their_sentence(
    first: str, between: str, second: str, other: str | None
) -> None:
    assert swapped(first, between, second) == other


def test_doubled_words_are_next_to_each_other() -> None:
    assert doubled("The", " ", "the")
    assert not doubled("the", ", ", "the")
    assert not doubled("the", " ", "then")
