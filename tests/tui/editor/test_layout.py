"""A text with a ghost in it stands where it will stand once the ghost is taken."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import Offset

from lmtui.tui.editor.layout import GhostRows, WrappedLines, room_for
from lmtui.tui.widgets.cells import cells_of
from lmtui.tui.widgets.line_document import LineDocument
from tests.tui.texts import texts

widths = st.sampled_from([0, 4, 9, 16])


languages = st.sampled_from([None, "python"])


def rows_of(text: str, width: int, language: str | None = None) -> WrappedLines:
    rows = WrappedLines(LineDocument(text), language=language)
    rows.wrap(width)
    return rows


def drawn_rows(layout: GhostRows) -> list[tuple[int, str, bool]]:
    rows = map(layout.row, range(layout.height))
    return [(row.indent, row.text, row.ends) for row in rows]


Case = tuple[WrappedLines, tuple[int, int], str, WrappedLines]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Rows of a text, a location in it, ghost text, and the rows once it is taken."""
    text, ghost = draw(texts()), draw(texts(8))
    width, language = draw(widths), draw(languages)
    index = draw(st.integers(0, len(text)))
    rows = rows_of(text, width, language)
    taken = rows_of(text[:index] + ghost + text[index:], width, language)
    return rows, rows.document.get_location_from_index(index), ghost, taken


@given(cases())
def test_ghost_rows_stand_where_the_taken_text_will(case: Case) -> None:
    rows, at, ghost, taken_rows = case
    layout, taken = GhostRows(rows, at, ghost), GhostRows(taken_rows)
    assert drawn_rows(layout) == drawn_rows(taken)
    assert layout.height == taken.height
    assert layout.widest >= taken.widest


@given(cases())
def test_ghost_rows_give_every_character_one_place(case: Case) -> None:
    rows, at, ghost, _ = case
    layout = GhostRows(rows, at, ghost)
    found: dict[tuple[int, int], tuple[int, int]] = {}
    ghostly: list[tuple[int, int]] = []
    for number in range(layout.height):
        row = layout.row(number)
        for part in row.parts:
            for n in range(part.end - part.start):
                if part.column is None:
                    ghostly.append((number, part.start + n))
                    continue
                place = (row.line, part.column + n)
                assert place not in found
                found[place] = (number, part.start + n)
    assert len(ghostly) == len(ghost)
    every = {(line, column) for line, text in enumerate(rows.document.lines)
             for column in range(len(text) + 1)}  # fmt: skip
    assert set(found) == every
    for place, index in found.items():  # the cursor stands before the ghost
        is_cursor = ghost and place == at
        assert layout.location_of(place) == (ghostly[0] if is_cursor else index)


@given(cases())
def test_ghost_rows_map_screen_offsets_to_locations(case: Case) -> None:
    rows, at, ghost, _ = case
    layout = GhostRows(rows, at, ghost)
    for y in range(layout.height + 1):
        for x in range(-1, 20):
            line, column = layout.offset_to_location(Offset(x, y))
            assert 0 <= column <= len(rows.document[line])
            row = layout.row(min(y, layout.height - 1))
            assert line == row.line
    for other in range(rows.document.characters + 1):
        place = rows.document.get_location_from_index(other)
        offset = layout.location_to_offset(place)
        hit = layout.offset_to_location(offset)
        # Characters that take no cell can't be hit.
        assert hit[0] == place[0]
        assert layout.location_to_offset(hit) == offset or hit < place


def test_ghost_rows_map_a_click_on_the_ghost_to_its_location() -> None:
    rows = rows_of("one two\nthree", 20)
    layout = GhostRows(rows, (0, 3), " and\na half")
    assert drawn_rows(layout) == [
        (0, "one and", True),
        (0, "a half two", True),
        (0, "three", True),
    ]
    assert layout.offset_to_location(Offset(1, 0)) == (0, 1)
    assert layout.offset_to_location(Offset(5, 0)) == (0, 3)
    assert layout.offset_to_location(Offset(2, 1)) == (0, 3)
    assert layout.offset_to_location(Offset(8, 1)) == (0, 5)
    assert layout.offset_to_location(Offset(2, 2)) == (1, 2)
    assert layout.ghost_rows == (0, 1)


@given(texts(), st.data(), texts(12), widths, st.integers(1, 4))
def test_room_for_gives_a_prefix_of_the_ghost_that_fits(
    text: str, data: st.DataObject, ghost: str, width: int, height: int
) -> None:
    index = data.draw(st.integers(0, len(text)))
    rows = rows_of(text, width)
    at = rows.document.get_location_from_index(index)
    seen = room_for(rows, at, ghost, height)
    assert ghost.startswith(seen)
    first, last = GhostRows(rows, at, seen).ghost_rows if seen else (0, 0)
    assert last - first < height
    assert room_for(rows, at, ghost, 100) == ghost


def test_room_for_cuts_a_long_ghost_at_the_end_of_a_row() -> None:
    rows = rows_of("", 8)
    assert room_for(rows, (0, 0), "one two three four", 2) == "one two three "
    assert room_for(rows, (0, 0), "one\ntwo\nthree", 2) == "one\ntwo"


def test_further_rows_of_a_line_are_indented_like_the_first() -> None:
    rows = rows_of("  one two three", 10, "python")
    assert drawn_rows(GhostRows(rows)) == [(0, "  one two ", False), (2, "three", True)]
    rows = rows_of("- one two three\n  four and five", 10)
    assert drawn_rows(GhostRows(rows)) == [
        (0, "- one two ", False),
        (2, "three", True),
        (0, "  four ", False),
        (0, "and five", True),
    ]
    layout = GhostRows(rows_of("\tone", 10, "python"), (0, 4), " two three")
    assert drawn_rows(layout)[1:] == [(4, "two ", False), (4, "three", True)]
    assert layout.offset_to_location(Offset(4, 1)) == (0, 4)


@given(texts(), widths, languages)
def test_indent_of_rows_leaves_room_for_text(
    text: str, width: int, language: str | None
) -> None:
    layout = GhostRows(rows_of(text, width, language))
    for row in map(layout.row, range(layout.height)):
        assert row.indent <= width / 2
        assert bool(row.indent) <= row.continues
        used = row.indent + cells_of(row.text, min(4, width or 4))
        assert used <= width or not width
