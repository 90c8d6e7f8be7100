"""Lines on rows: measured as they are drawn, and nothing of them is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.geometry import Offset

from lmtui.tui.editor.layout import RowNavigator, WrappedLines, breaks, pieces_of
from lmtui.tui.widgets.cells import cells_of, drawn
from lmtui.tui.widgets.line_document import LineDocument
from tests.tui.hosts import HOSTILE, safe
from tests.tui.texts import edits, texts

widths = st.integers(2, 20)
lines = texts().map(lambda text: text.replace("\n", ""))


languages = st.sampled_from([None, "python"])


def rows_of(text: str, width: int, language: str | None = None) -> WrappedLines:
    document = LineDocument(text)
    rows = WrappedLines(document, language=language)
    document.on_change = rows.follow
    rows.wrap(width)
    return rows


def layout(rows: WrappedLines) -> list[list[str]]:
    edges = [(0, *rows.get_offsets(n), None) for n in range(rows.document.line_count)]
    return [
        [line[a:b] for a, b in pairwise(cuts)]
        for line, cuts in zip(rows.document.lines, edges, strict=True)
    ]


@given(lines)
def test_drawn_line_is_safe_and_keeps_its_length(line: str) -> None:
    assert len(drawn(line)) == len(line)
    assert safe(drawn(line).replace("\t", ""))
    assert [n for n, c in enumerate(line) if c == "\t"] == [
        n for n, c in enumerate(drawn(line)) if c == "\t"
    ]


def test_drawn_limits_combining_marks() -> None:
    heap = drawn(HOSTILE["marks"])
    assert heap.count("\u0301") == 4
    assert cells_of(heap, 4) == 1 + 996
    assert drawn(HOSTILE["lone marks"])[0] == "\ufffd"


@given(lines)
def test_cells_of_a_line_are_the_sum_of_its_pieces(line: str) -> None:
    pieces = list(pieces_of(drawn(line), 4))
    assert "".join(piece for piece, _ in pieces) == drawn(line)
    assert sum(cells for _, cells in pieces) == cells_of(drawn(line), 4)
    spaced = "".join(" " * c if p == "\t" else p for p, c in pieces)
    assert cell_len(spaced) == cells_of(drawn(line), 4)


@given(lines, widths, st.data())
def test_breaks_cut_a_line_into_rows_that_fit(
    line: str, width: int, data: st.DataObject
) -> None:
    text, tab = drawn(line), min(4, width)
    hang = data.draw(st.integers(0, min(width // 2, width - tab)))
    edges = [0, *breaks(text, width, 4, hang=hang), len(text)]
    assert edges == sorted(set(edges)) or not text
    for start, end in pairwise(edges):
        room = width - hang if start else width
        assert cells_of(text[start:end], tab) <= room


def test_breaks_keep_words_whole_where_they_can() -> None:
    assert breaks("one two three", 8, 4) == [8]
    assert breaks("antidisestablish", 6, 4) == [6, 12]
    assert breaks("漢字漢字", 5, 4) == [2]
    assert breaks("one 漢字漢字", 8, 4) == [6]
    assert breaks("one two漢字", 9, 4) == [8]
    assert breaks("漢字漢字。漢", 8, 4) == [3]
    assert breaks("漢字漢「字」", 8, 4) == [3]
    assert breaks("漢字，(abc)漢字", 8, 4) == [3, 9]
    assert breaks("one two three", 0, 4) == []
    assert breaks("  one two three", 9, 4, hang=2) == [6, 10]
    assert breaks("  antidisestablish", 8, 4, hang=2) == [8, 14]
    assert breaks("  one disestablish", 8, 4, hang=2) == [6, 12]
    assert breaks("- 漢字漢字", 6, 4, hang=2) == [4]


@given(st.data(), st.sampled_from([0, 7, 12]))
def test_wrapped_lines_follow_the_document(data: st.DataObject, width: int) -> None:
    text = data.draw(texts())
    rows = rows_of(text, width)
    for _ in range(3):
        start, end, put = data.draw(edits(text))
        top, bottom = map(rows.document.get_location_from_index, (start, end))
        rows.document.replace_range(top, bottom, put)
        text = text[:start] + put + text[end:]
        if data.draw(st.booleans()):
            continue
        fresh = rows_of(text, width)
        assert layout(rows) == layout(fresh)
        assert rows.height == fresh.height == sum(map(len, layout(fresh)))
        assert width or rows.widest == fresh.widest


@given(texts(), widths, languages)
def test_wrapped_lines_map_offsets_to_locations(
    text: str, width: int, language: str | None
) -> None:
    rows = rows_of(text, width, language)
    for index in range(len(text) + 1):
        location = rows.document.get_location_from_index(index)
        offset = rows.location_to_offset(location)
        assert rows.top_of(location[0]) <= offset.y < rows.top_of(location[0] + 1)
        line, column = rows.offset_to_location(offset)
        assert line == location[0]
        assert rows.location_to_offset((line, column)) == offset or column < location[1]


def test_wrapped_lines_clamp_an_offset_beyond_the_text() -> None:
    rows = rows_of("one\ntwo three", 5)
    assert layout(rows) == [["one"], ["two ", "three"]]
    assert rows.offset_to_location(Offset(99, 99)) == (1, 9)
    assert rows.offset_to_location(Offset(99, 1)) == (1, 3)
    assert rows.offset_to_location(Offset(-3, -3)) == (0, 0)


@given(texts(), widths, languages, st.data())
def test_cursor_moves_by_rows_in_the_cell_that_it_came_from(
    text: str, width: int, language: str | None, data: st.DataObject
) -> None:
    rows = rows_of(text, width, language)
    navigator = RowNavigator(rows)
    index = data.draw(st.integers(0, len(text)))
    place = rows.document.get_location_from_index(index)
    cell, first = rows.location_to_offset(place)
    navigator.last_x_offset, row = cell, first
    while row < rows.height - 1:
        place = navigator.get_location_below(place)
        row += 1
        assert place == rows.offset_to_location(Offset(cell, row))
        if rows.location_to_offset(place).y != row:
            return  # it stands where a row ends that has only marks
    assert navigator.get_location_below(place) == rows.document.end
    while row > first:
        place = navigator.get_location_above(place)
        row -= 1
        assert place == rows.offset_to_location(Offset(cell, row))


def test_rows_further_right_do_not_move_the_cursor_for_good() -> None:
    rows = rows_of("    one two three\nfour", 10, "python")
    navigator = RowNavigator(rows)
    place = (0, 1)
    navigator.last_x_offset = 1
    for below in ((0, 8), (0, 12), (1, 1), (1, 4)):
        place = navigator.get_location_below(place)
        assert place == below
    for above in ((0, 12), (0, 8), (0, 1), (0, 0)):
        place = navigator.get_location_above(place)
        assert place == above
