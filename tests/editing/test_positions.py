"""LINE:COL: every location has one name, and no other name is accepted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.positions import (
    location_of,
    nearest_offset,
    offset_named,
    offset_of,
    paragraph_at,
    parsed,
)
from lmtui.errors import LmtuiError

TEXT = st.text(st.sampled_from("aé🙂\n\r\x0c\u2028"), max_size=20)


@given(TEXT)
def test_every_offset_has_one_location(text: str) -> None:
    places = [location_of(text, offset) for offset in range(len(text) + 1)]
    assert len(set(places)) == len(places)
    assert places == sorted(places)
    assert [offset_of(text, *place) for place in places] == list(range(len(text) + 1))


@given(TEXT, st.integers(-1, 22), st.integers(-1, 22))
def test_offset_of_accepts_only_existing_locations(
    text: str, line: int, column: int
) -> None:
    if (line, column) in {location_of(text, offset) for offset in range(len(text) + 1)}:
        assert location_of(text, offset_of(text, line, column)) == (line, column)
    else:
        with pytest.raises(LmtuiError):
            offset_of(text, line, column)


@given(TEXT, st.integers(1, 22), st.integers(1, 22))
def test_nearest_offset_is_the_last_one_up_to_a_location(
    text: str, line: int, column: int
) -> None:
    offsets = range(len(text) + 1)
    found = nearest_offset(text, line, column)
    assert found == max(o for o in offsets if location_of(text, o) <= (line, column))


@pytest.mark.parametrize(
    ("line", "column", "detail"),
    [
        (0, 1, "line 0; the text has 2 lines"),
        (3, 1, "line 3; the text has 2 lines"),
        (1, 0, "column 0; line 1 has 1 character"),
        (2, 5, "column 5; line 2 has 3 characters"),
    ],
)
def test_refused_location_names_the_lines_and_columns_there_are(
    line: int, column: int, detail: str
) -> None:
    with pytest.raises(LmtuiError) as caught:
        offset_of("a\nbcd", line, column)
    assert caught.value.detail == detail


def test_parsed_reads_line_and_column() -> None:
    assert parsed("12:5") == (12, 5)
    assert parsed(" 1:1 ") == (1, 1)


@pytest.mark.parametrize("place", ["", "1", "1:", ":1", "1:2:3", "-1:2", "a:b", "²:1"])
def test_parsed_refuses_malformed_locations(place: str) -> None:
    with pytest.raises(LmtuiError, match="this is not a LINE:COL"):
        parsed(place)


def test_location_without_a_column_is_the_line_start() -> None:
    assert offset_named("a\nbcd", " 2 ") == offset_named("a\nbcd", "2:1") == 2
    assert offset_named("a\nbcd", "2:3") == 4
    assert offset_named("a\nbcd", "2:9") == offset_named("a\nbcd", "3") == 5


@pytest.mark.parametrize("place", ["", "x", "1:", "1 2"])
def test_offset_named_refuses_malformed_locations(place: str) -> None:
    with pytest.raises(LmtuiError):
        offset_named("a\nbcd", place)


@given(st.text("a \n\n\t", max_size=40), st.data())
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
