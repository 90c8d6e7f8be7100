"""Surprising places: whole words, none lost, and a way from each to the next."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.surprises import (
    MOST,
    SurprisingWord,
    most_surprising,
    surprising_words,
)
from lmtui.partial import RankAbove


@st.composite
def scored(draw: st.DrawFn) -> tuple[str, list[SurprisingWord]]:
    """A text and tokens that cover it, some of which share a character."""
    text = draw(st.text("abZ_'1. ,\n漢é👍", max_size=30))
    cuts = draw(st.sets(st.integers(0, len(text)), max_size=12))
    edges = sorted({0, len(text), *cuts})
    tokens: list[SurprisingWord] = []
    for start, end in pairwise(edges):
        for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
            bits = draw(st.integers(0, 12))
            tokens.append(SurprisingWord(start, end, float(bits), bits + 1))
    return text, tokens


def words_from(
    text: str, tokens: list[SurprisingWord], threshold: int
) -> list[SurprisingWord]:
    """The words of the tokens of at least so many bits."""
    return surprising_words(text, [t for t in tokens if t.bits >= threshold])


@given(scored(), st.integers(1, 10))
def test_every_surprising_token_lies_in_a_surprising_word(
    case: tuple[str, list[SurprisingWord]], threshold: int
) -> None:
    text, tokens = case
    places = words_from(text, tokens, threshold)
    letters = {i for i, c in enumerate(text) if c.isalnum() or c == "_"}
    for token in tokens:
        if token.bits < threshold:
            continue
        inside = letters & set(range(token.start, token.end))
        around = [
            place
            for place in places
            if place.start < token.end and token.start < place.end
        ]
        assert not inside or max(place.bits for place in around) >= token.bits
    assert bool(places) == any(token.bits >= threshold for token in tokens)


@given(scored(), st.integers(1, 10))
def test_surprising_words_are_disjoint_and_take_bits_of_a_token(
    case: tuple[str, list[SurprisingWord]], threshold: int
) -> None:
    text, tokens = case
    places = words_from(text, tokens, threshold)
    for first, second in pairwise(places):
        assert first.end <= second.start
    for place in places:
        assert text[place.start : place.end] != ""
        assert (place.bits, place.rank) in {(t.bits, t.rank) for t in tokens}
        assert place.bits >= threshold


@given(scored())
def test_surprising_words_end_at_word_boundaries(
    case: tuple[str, list[SurprisingWord]],
) -> None:
    text, tokens = case
    for place in words_from(text, tokens, 1):
        for here, beside in (
            (text[place.start], text[: place.start][-1:]),
            (text[place.end - 1], text[place.end :][:1]),
        ):
            latin = all(
                c.isascii() and (c.isalnum() or c == "_") for c in (here, beside)
            )
            assert not (beside and latin)


@given(st.lists(st.floats(0, 30), max_size=60))
def test_most_surprising_lists_the_highest_bits_first(values: list[float]) -> None:
    places = [SurprisingWord(n, n + 1, bits) for n, bits in enumerate(values)]
    listed = most_surprising(places)
    assert [p.bits for p in listed] == sorted(values, reverse=True)[:MOST]


@pytest.mark.parametrize(
    ("text", "token", "word"),
    [
        ("The capital is Paris.", (14, 17), "Paris"),
        ("The capital is Paris.", (17, 21), "Paris"),
        ('say "Hello" now', (3, 6), "Hello"),
        ("a.append(b)", (1, 9), "append"),
        ("x = __init__", (6, 8), "__init__"),
        ("don't stop", (3, 4), "don't"),
        ("end.\n\nNext", (4, 6), "\n\n"),
        ("wait ... what", (4, 8), "..."),
        ("東京タワー", (1, 2), "京"),
        ("a 👨‍👩‍👧 b", (2, 3), "👨‍👩‍👧"),
    ],
)
def test_surprising_token_extends_to_its_whole_word(
    text: str, token: tuple[int, int], word: str
) -> None:
    (place,) = surprising_words(text, [SurprisingWord(*token, 9.0)])
    assert text[place.start : place.end] == word


def test_long_word_of_many_tokens_is_one_surprising_word() -> None:
    text = "a" * 20_000
    tokens = [SurprisingWord(i, i + 2, 9.0) for i in range(0, len(text), 2)]
    (place,) = surprising_words(text, tokens)
    assert (place.start, place.end) == (0, len(text))


def test_a_word_keeps_that_the_rank_of_its_worst_token_is_above_a_number() -> None:
    beyond = RankAbove(500)
    tokens = [SurprisingWord(0, 2, 5.0, 40), SurprisingWord(2, 4, 9.0, beyond)]
    (place,) = surprising_words("abcd", tokens)
    assert place.rank == beyond
