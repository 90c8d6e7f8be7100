"""Paragraphs: every place is in one, or on a blank line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.positions import paragraph_at

TEXTS = st.text("a \n\n\t", max_size=40)


@given(TEXTS, st.data())
def test_paragraph_is_the_run_of_lines_that_are_not_blank(
    text: str, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(text)))
    start, end = paragraph_at(text, place)
    assert start <= place <= end
    lines = text.split("\n")
    number = text.count("\n", 0, place)
    if not lines[number].strip():
        assert start == end == place
        return
    first = last = number
    while first > 0 and lines[first - 1].strip():
        first -= 1
    while last + 1 < len(lines) and lines[last + 1].strip():
        last += 1
    assert text[start:end] == "\n".join(lines[first : last + 1])
    assert start == len("\n".join([*lines[:first], ""]))


@pytest.mark.parametrize(
    ("place", "paragraph"), [(0, "One\ntwo"), (7, "One\ntwo"), (8, ""), (11, "Three")]
)
def test_paragraph_at_returns_the_expected_text(place: int, paragraph: str) -> None:
    text = "One\ntwo\n \nThree\n"
    start, end = paragraph_at(text, place)
    assert text[start:end] == paragraph
