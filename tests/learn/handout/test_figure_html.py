"""Figures as HTML: every number is that of the figure, drawn and written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui import notation, surprisal_scale
from lmtui.learn.figure import Bars, Cell, Chart, Column, Level, ShadedText, Table
from lmtui.learn.figure import ShadedToken as Token
from lmtui.learn.handout.figure_html import figure_html
from tests.learn.handout.gallery import candidate, gallery
from tests.learn.handout.tree import Element, read

FINITE = st.floats(-1e6, 1e6)


def drawn(*figure: object) -> Element:
    """A figure as HTML, read."""
    return read(figure_html(figure, "A figure")).one("section")  # type: ignore[arg-type]


def widths(element: Element) -> list[float]:
    """The lengths of the bars, as shares."""
    return [float(each.attributes["width"]) / 100 for each in element.all("rect")]


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_bars_have_the_probabilities(probs: list[float], rest: float) -> None:
    rows = tuple(candidate(n, prob) for n, prob in enumerate(probs))
    table = drawn(Bars("Title", rows, rest, note="A note.")).one("table", "bars")
    numbers = [each.text for each in table.all("td", "n")]
    assert numbers == [notation.chance(row.prob) for row in rows] + [
        notation.chance(rest)
    ]
    assert widths(table) == pytest.approx([*probs, rest], abs=1e-4)
    names = [each.text for each in table.one("tbody").all("th")]
    assert names == [*(f"·token{n}" for n in range(len(probs))), "all others"]
    assert table.one("caption").text == "Title"


def test_bars_of_the_sampler_have_two_halves_and_the_cut_in_words() -> None:
    bars = next(part for part in gallery()[1] if isinstance(part, Bars))
    table = drawn(bars).one("table", "bars")
    assert [each.text for each in table.one("thead").all("th")] == [
        *("word", "probability ▀", "drawn ▄"),
    ]
    assert [each.text for each in table.all("td", "n")] == [
        *("50.0%", "70.0%", "25.0%", "30.0%", "10.0%", "0%", "15.0%", "0%"),
    ]
    expected = [0.5, 0.7, 0.25, 0.3, 0.1, 0, 0.15, 0]
    assert widths(table) == pytest.approx(expected)
    assert [each.text for each in table.one("tbody").all("th")] == [
        "·token1",
        "·token2",
        "·token3 (cut by top-k)",
        "all others ◂ chosen",
    ]


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_table_draws_shares(share: float) -> None:
    columns = (Column("word"), Column("", grows=True))
    table = drawn(Table("Title", columns, ((Cell("x"), Cell("", share=share)),)))
    (width,) = widths(table)
    assert 0 <= width <= 1
    if 0 <= share <= 1:
        assert width == pytest.approx(share, abs=1e-4)


def test_table_has_headings_with_a_scope_marks_and_shades() -> None:
    table = next(part for part in gallery()[1] if isinstance(part, Table))
    shown = drawn(table)
    heads = shown.one("thead").all("th")
    assert [each.text for each in heads] == ["word", "p"]
    assert {each.attributes["scope"] for each in heads} == {"col"}
    rows = shown.one("tbody").all("tr")
    assert {each.attributes["scope"] for each in shown.one("tbody").all("th")} == {
        "row"
    }
    assert [row.attributes.get("aria-current") for row in rows] == [None, "true", None]
    cells = [[cell.text for cell in row.all("td", "n")] for row in rows]
    assert cells == [["61.2%"], ["<0.1%"], ["–"]]
    assert shown.one("span", "s5").text == "rare"
    assert shown.one("p", "note").text == "A note:  the"


@pytest.mark.parametrize(
    ("texts", "is_drawing"),
    [
        (("├─ one", "  two"), True),
        (("■■·", "■··"), True),
        (("one", "two │ three"), False),
    ],
)
def test_column_of_a_drawing_has_signs_of_one_width(
    texts: tuple[str, str], is_drawing: bool
) -> None:
    rows = tuple((Cell(text), Cell("1")) for text in texts)
    table = drawn(Table("", (Column(""), Column("p")), rows)).one("tbody")
    cells = [each for each in table.all("th") if each.text in texts]
    assert [each.text for each in cells] == list(texts)
    assert all(("d" in each.attributes["class"]) == is_drawing for each in cells)
    assert not table.all("td", "d")


@given(st.lists(st.none() | st.floats(0, 40), max_size=12))
def test_shaded_text_has_the_steps_of_the_scale(bits: list[float | None]) -> None:
    tokens = tuple(Token(f" t{n}\n", each) for n, each in enumerate(bits))
    text = drawn(ShadedText("", tokens)).one("p", "shaded")
    assert text.text == "".join(token.text for token in tokens)
    spans = [part for part in text.parts if isinstance(part, Element)]
    for span, each in zip(spans, bits, strict=True):
        known = span.attributes
        if each is None:
            assert known["class"] == "" and "title" not in known
            continue
        assert known["class"] == f"s{surprisal_scale.step(each, 'surprisal')}"
        assert known["title"] == f"{notation.in_bits(each)} bits"


POINTS = st.lists(st.tuples(st.floats(0, 1e5), FINITE), max_size=60)


@given(POINTS, st.lists(FINITE, max_size=3), st.booleans())
def test_chart_lies_in_its_drawing_in_order(
    points: list[tuple[float, float]], levels: list[float], log: bool
) -> None:
    points.sort()
    named = tuple(Level(f"level {n}", value) for n, value in enumerate(levels))
    figure = Chart("Title", tuple(points), "x", "y", named, log_x=log)
    shown = drawn(figure)
    if not points and not levels:
        assert not shown.all("svg")
        return
    svg = shown.one("svg", "chart")
    _, _, width, height = map(float, svg.attributes["viewbox"].split())
    assert svg.attributes["aria-label"] == "Title: y by x"
    lines = svg.all("polyline")
    assert len(lines) == (len(points) > 1)
    for line in lines:
        places = [
            tuple(map(float, p.split(","))) for p in line.attributes["points"].split()
        ]
        assert len(places) == len(points)
        assert all(0 <= x <= width and 0 <= y <= height for x, y in places)
        assert [x for x, _ in places] == sorted(x for x, _ in places)
        highest = max(points, key=lambda point: point[1])
        assert places[points.index(highest)][1] == min(y for _, y in places)
    assert len(svg.all("line", "level")) == len(levels)
    texts = [each.text for each in svg.all("text")]
    for level in named:
        assert f"{level.name} {notation.rate(level.value)}" in texts


def test_chart_leaves_out_what_is_not_finite() -> None:
    points = ((0.0, 1.0), (1.0, math.nan), (2.0, math.inf), (3.0, 2.0))
    figure = Chart("", points, "x", "y", (Level("far", math.inf),))
    svg = drawn(figure).one("svg", "chart")
    assert len(svg.all("circle")) == 2
    assert not svg.all("line", "level")


def test_point_of_a_chart_is_between_the_ticks_around_it() -> None:
    figure = Chart("", ((0.0, 0.0), (3.0, 2.5), (10.0, 10.0)), "x", "y")
    svg = drawn(figure).one("svg", "chart")
    labels = {
        (each.attributes["text-anchor"], each.text): each.attributes
        for each in svg.all("text")
    }
    point = svg.all("circle")[1].attributes
    left, right = (float(labels["middle", n]["x"]) for n in ("2", "4"))
    assert float(point["cx"]) == pytest.approx((left + right) / 2, abs=0.1)
    low, high = (float(labels["end", n]["y"]) - 4 for n in ("0", "5"))
    assert float(point["cy"]) == pytest.approx((low + high) / 2, abs=0.1)
