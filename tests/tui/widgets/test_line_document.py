"""The text of an editor: nothing of it is lost, whatever is edited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.tui.editor.document import syntax_document
from lmtui.tui.widgets.line_document import DocumentChange, LineDocument, end_of
from tests.tui.texts import edits, texts


@given(texts())
def test_only_a_newline_ends_a_line(text: str) -> None:
    document = LineDocument(text)
    assert document.lines == text.split("\n")
    assert document.text == text
    assert document.characters == len(text)


@given(texts())
def test_document_converts_between_locations_and_indexes(text: str) -> None:
    document = LineDocument(text)
    for index in range(len(text) + 1):
        location = document.get_location_from_index(index)
        assert location == end_of((0, 0), text[:index])
        assert document.get_index_from_location(location) == index
    assert document.get_location_from_index(len(text) + 9) == document.end
    assert document.get_location_from_index(-1) == (0, 0)


@pytest.mark.parametrize("language", [None, "python"])
@given(data=st.data())
def test_replace_range_updates_text_counts_and_change(
    language: str | None, data: st.DataObject
) -> None:
    text = data.draw(texts())
    document = syntax_document(text, language) or LineDocument(text)
    changes: list[DocumentChange] = []
    document.on_change = changes.append
    for _ in range(3):
        start, end, put = data.draw(edits(text))
        top, bottom = map(document.get_location_from_index, (start, end))
        assert document.words == len(text.split())
        result = document.replace_range(bottom, top, put)
        assert result.replaced_text == text[start:end]
        text = text[:start] + put + text[end:]
        assert document.text == text
        assert document.lines == text.split("\n")
        assert document.characters == len(text)
        assert document.words == LineDocument(text).words
        assert changes.pop() == DocumentChange(top, bottom, result.end_location)
        assert document.get_index_from_location(result.end_location) == start + len(put)


def test_document_clamps_a_location_beyond_its_end() -> None:
    document = LineDocument("one\ntwo")
    assert document.replace_range((1, 0), (2, 0), "").replaced_text == "two"
    assert document.text == "one\n"


@given(texts(), st.data())
def test_around_gives_the_text_before_and_after_a_location(
    text: str, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(text)))
    count = data.draw(st.integers(1, 20))
    document = LineDocument(text)
    around = document.around(document.get_location_from_index(index), count)
    assert around == (text[:index][-count:], text[index:][:count])


def test_document_counts_words_divided_by_white_space() -> None:
    assert LineDocument("one  two\nthree\n\n four\t5").words == 5
    assert LineDocument("").words == 0
