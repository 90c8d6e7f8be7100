"""Corrections of a text: where each is, whatever was applied before it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.corrections import ProofreadText
from lmtui.engine.document.types import (
    Correction,
    ProofreadPart,
)

TEXT = "she was intrested in the the city and it depends of the weather"


def correction(start: int, end: int, text: str) -> Correction:
    return Correction(start, end, text, "misspelt", 7.0)


@st.composite
def separate(draw: st.DrawFn) -> list[Correction]:
    """Corrections that do not overlap, in the order of the text."""
    ends = sorted(draw(st.sets(st.integers(0, len(TEXT)), max_size=10)))
    spans = [pair for index, pair in enumerate(pairwise(ends)) if index % 2 == 0]
    texts = draw(st.lists(st.text(max_size=5), min_size=len(spans), max_size=9))
    return [correction(a, b, text) for (a, b), text in zip(spans, texts, strict=False)]


@given(separate(), st.data())
def test_corrections_change_what_they_name_one_by_one_and_all(
    corrections: list[Correction], data: st.DataObject
) -> None:
    read = ProofreadText(TEXT, 0, len(TEXT))
    read.add(ProofreadPart(len(TEXT), tuple(corrections)))
    order = data.draw(st.permutations(corrections))
    for correction in order[: data.draw(st.integers(0, len(order)))]:
        start, end = read.span(correction)
        assert read.current[start:end] == read.original(correction)
        assert read.apply([correction]) == (start, end, correction.text)
    if read.corrections:
        before = read.current
        start, end, text = read.apply(read.corrections)
        assert before[:start] + text + before[end:] == read.current
    assert read.current == applied(corrections)
    assert (read.corrections, len(read.applied)) == ([], len(corrections))


def applied(corrections: list[Correction]) -> str:
    """The text with all corrections."""
    whole = TEXT
    for each in reversed(corrections):
        whole = whole[: each.start] + each.text + whole[each.end :]
    return whole


def test_ignored_change_is_removed_wherever_it_is() -> None:
    read = ProofreadText("teh teh of Teh", 0, 14)
    places = [(0, 3, "the"), (4, 7, "the"), (8, 10, "on"), (11, 14, "The")]
    found = [correction(*each) for each in places]
    read.add(ProofreadPart(10, tuple(found[:3])))
    read.ignore(read.corrections[1])
    read.add(ProofreadPart(14, tuple(found[3:])))
    assert [each.text for each in read.corrections] == ["on"]
    assert (read.applied, read.current) == ([], read.text)


def test_proofread_text_knows_how_much_is_read() -> None:
    read = ProofreadText(TEXT, 4, 44)
    assert (read.share, read.is_read) == (0.0, False)
    read.add(ProofreadPart(14, (correction(8, 17, "interested"),)))
    assert (read.share, read.is_read) == (0.25, False)
    read.add(ProofreadPart(44, ()))
    assert (read.share, read.is_read) == (1.0, True)
    assert [each.text for each in read.corrections] == ["interested"]


def test_empty_part_of_a_text_is_read_at_once() -> None:
    assert ProofreadText(TEXT, 4, 4).share == 1.0
