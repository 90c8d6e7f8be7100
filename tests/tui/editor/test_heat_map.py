"""Heat stays on its characters while the text is edited."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from lmtui.tui.editor.document import HeatMap, HeatSpan
from lmtui.tui.widgets.line_document import LineDocument
from tests.tui.texts import edits, texts


def heated(text: str, spans: list[HeatSpan]) -> tuple[LineDocument, HeatMap]:
    document = LineDocument(text)
    marks = HeatMap(document.line_count)
    document.on_change = marks.follow
    marks.put(spans, document, 0, len(text))
    return document, marks


def levels(document: LineDocument, marks: HeatMap) -> list[tuple[int, bool] | None]:
    """Level and staleness of every character."""
    found: list[tuple[int, bool] | None] = [None] * (document.characters + 1)
    for line in range(document.line_count):
        last = 0
        for mark in marks.of(line):
            assert last <= mark.start < mark.end <= len(document[line]) + 1
            last = mark.end
            for column in range(mark.start, mark.end):
                index = document.get_index_from_location((line, column))
                found[index] = (mark.level, mark.stale)
    return found[:-1]


@st.composite
def spans_of(draw: st.DrawFn, text: str) -> list[HeatSpan]:
    """A text cut into tokens, each with a number of its own."""
    cuts = sorted({0, len(text), *draw(st.lists(st.integers(0, len(text))))})
    pairs = enumerate(itertools.pairwise(cuts))
    return [HeatSpan(a, b, n, float(n)) for n, (a, b) in pairs]


@given(st.data())
def test_edit_drops_the_heat_it_touches_and_moves_the_rest(data: st.DataObject) -> None:
    text = data.draw(texts())
    spans = data.draw(spans_of(text))
    document, marks = heated(text, spans)
    before = levels(document, marks)
    assert None not in before
    start, end, put = data.draw(edits(text))
    top, bottom = map(document.get_location_from_index, (start, end))
    document.replace_range(top, bottom, put)
    after = levels(document, marks)
    assert after[start : start + len(put)] == [None] * len(put)
    for index, was in enumerate(before):
        if start <= index < end:
            continue
        moved = index if index < start else index + len(put) - (end - start)
        span = next(s for s in spans if s.start <= index < s.end)
        lines = text[span.start : span.end - 1].count("\n")
        touched = span.start < max(end, start) and start < span.end
        if touched and not lines:
            assert after[moved] is None
        elif not touched:
            assert after[moved] == was
        else:  # what it is in other lines may stay
            assert after[moved] in (was, None)


@given(st.data())
def test_put_replaces_the_heat_of_one_part_only(data: st.DataObject) -> None:
    text = data.draw(texts())
    spans = data.draw(spans_of(text))
    document, marks = heated(text, spans)
    if not spans:
        return
    first = data.draw(st.integers(0, len(spans) - 1))
    last = data.draw(st.integers(first, len(spans) - 1))
    start, end = spans[first].start, spans[last].end
    before = levels(document, marks)
    marks.put([HeatSpan(start, end, 99)], document, start, end)
    after = levels(document, marks)
    assert after[:start] == before[:start]
    assert after[start:end] == [(99, False)] * (end - start)
    assert after[end:] == before[end:]


@given(st.data())
def test_make_stale_marks_the_spans_that_begin_in_a_part(data: st.DataObject) -> None:
    text = data.draw(texts())
    spans = data.draw(spans_of(text))
    document, marks = heated(text, spans)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    marks.make_stale(document, start, end)
    for index, found in enumerate(levels(document, marks)):
        span = next(s for s in spans if s.start <= index < s.end)
        line_start = text.rfind("\n", 0, index) + 1
        begins = max(span.start, line_start)
        assert found == (span.level, start <= begins < end)


def test_heat_map_merges_the_tokens_of_one_character() -> None:
    spans = [
        HeatSpan(0, 1, 2, 1.0),
        HeatSpan(0, 1, 5, 2.0),
        HeatSpan(0, 1, 1, 0.5),
    ]
    document, marks = heated("漢x", [*spans, HeatSpan(1, 2, 3)])
    (first, second) = marks.of(0)
    assert (first.start, first.end, first.level, first.bits) == (0, 1, 5, 3.5)
    assert (second.start, second.end, second.level) == (1, 2, 3)
    assert document.line_count == 1


def test_line_sums_the_bits_of_the_spans_that_begin_in_it() -> None:
    spans = [HeatSpan(0, 1, 1, 1.0), HeatSpan(1, 4, 2, 2.0), HeatSpan(4, 5, 1, 4.0)]
    _, marks = heated("a\n\nbc\nd", spans)
    assert [marks.bits(n) for n in range(4)] == [3.0, 0.0, 4.0, None]


def test_between_gives_the_marks_of_a_part_of_a_line() -> None:
    _, marks = heated("abcdef", [HeatSpan(n, n + 2, n) for n in (0, 2, 4)])
    assert [mark.level for mark in marks.between(0, 2, 4)] == [2]
    assert [mark.level for mark in marks.between(0, 1, 5)] == [0, 2, 4]
    assert marks.between(0, 6, 9) == ()
