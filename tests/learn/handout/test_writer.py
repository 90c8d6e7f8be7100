"""The pages of a handout: all text is there, and none of it can act."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmtui.learn.figure_lines import figure_text
from lmtui.learn.handout.worksheet import worksheet
from lmtui.learn.handout.writer import INDEX, Handout, file_name
from lmtui.text import visible_flow
from tests.analysis.html.test_writer import HOSTILE
from tests.examples import examples
from tests.fakes import FakeEngine
from tests.learn.handout.gallery import (
    INSTRUMENTS,
    MATERIAL,
    course_of,
    gallery,
    page_of,
)
from tests.learn.handout.tree import CONTROLS, Element, digest, policy_of, read

MORE_HOSTILE = HOSTILE + '</script><img src=x onerror=alert(1)>"\' style="x'


def sources_of(foreign: str = " the", *, instrument: str = "gallery") -> list[str]:
    """The pages of a course, the index last."""
    pages = [page_of(n, instrument, foreign) for n in (1, 2, 3)]
    course, engine = course_of(*pages, foreign=foreign), FakeEngine(name=foreign)
    handout = Handout(course, engine.info, foreign)
    kind = INSTRUMENTS[instrument]
    sheets = [worksheet(kind, page, MATERIAL, engine) for page in course.pages]
    return [*(handout.page(sheet) for sheet in sheets), handout.index()]


def pages_of(foreign: str = " the", *, instrument: str = "gallery") -> list[Element]:
    """The same, read."""
    return [read(source) for source in sources_of(foreign, instrument=instrument)]


@cache
def plain_tags() -> list[str]:
    return [element.tag for page in pages_of() for element in _elements(page)]


@settings(max_examples=examples(10, 1_000))
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_text_stays_text(foreign: str) -> None:
    plain, pages = plain_tags(), pages_of(f"x{foreign}")
    drawn = [element.tag for page in pages for element in _elements(page)]
    # Of a drawing, the number of parts depends on the text.
    assert set(drawn) <= set(plain)
    for tag in set(plain) - {"span", "i"}:
        assert drawn.count(tag) == plain.count(tag)


def _elements(element: Element) -> list[Element]:
    parts = [part for part in element.parts if isinstance(part, Element)]
    return [one for part in parts for one in (part, *_elements(part))]


@pytest.mark.parametrize("instrument", sorted(INSTRUMENTS))
def test_hostile_text_is_shown_and_can_not_act(instrument: str) -> None:
    for source in sources_of(MORE_HOSTILE, instrument=instrument):
        page = read(source)
        assert not CONTROLS.search(source)
        assert not re.search("<(script|img|iframe|b|object|link)[ >]", source)
        for element in _elements(page):
            assert not [name for name in element.attributes if name[:2] == "on"]
            assert not {"style", "src"} & element.attributes.keys()
        assert visible_flow(MORE_HOSTILE) in page.one("body").text


def test_policy_allows_the_style_of_the_page_alone() -> None:
    for page in pages_of():
        style = page.one("style").text
        assert policy_of(page) == {
            "default-src": "'none'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "style-src": digest(style),
        }
        assert not re.search("url\\(|@import|https?:|//", style)
        assert not page.all("script")


def test_pages_link_only_to_each_other() -> None:
    course = course_of()
    names = [*(file_name(course, n) for n in range(3)), INDEX]
    assert names[0] == "01-page-1.html"
    links = [[a.attributes["href"] for a in page.all("a")] for page in pages_of()]
    assert links == [
        [INDEX, names[1]],
        [names[0], INDEX, names[2]],
        [names[1], INDEX],
        names[:3],
    ]
    for source in sources_of():
        assert not re.search(r"https?:|//|www\.|mailto:", source)


def test_page_has_its_text_exercises_and_answer() -> None:
    page = pages_of()[0].one("body")
    first, *_ = page.all("p")
    assert first.text == "Course  the · page 1 of 3"
    assert page.one("h1").text == "Page 1  the"
    text = page.all("p")[1]
    assert text.text == "The  the is strong,  the and code. Press draw one or ↑ ↓."
    assert [part.tag for part in text.parts if isinstance(part, Element)] == [
        *("strong", "em", "code", "kbd", "kbd"),
    ]
    assert [li.text for li in page.all("ul")[0].all("li")] == [
        "first item",
        "second item",
    ]
    exercise = page.one("ul", "exercises").one("label")
    assert exercise.text == "Do  the, then Enter"
    assert exercise.one("input").attributes == {"type": "checkbox"}
    folded = [
        (part.one("summary").text, part.one("p").text)
        for part in page.all("details", "answer")
    ]
    assert folded == [
        ("In a textbook", "P(x_t | x_<t) the."),
        ("Answer", "This was  the."),
    ]
    asked = page.one("section", "questions").one("li")
    assert asked.text == "Which  the?My answer:"


def test_page_has_both_figures_and_their_lines_of_text() -> None:
    page = pages_of()[0].one("body")
    figures = page.all("section", "figure")
    assert [figure.one("h2").text for figure in figures] == [
        "At the beginning",
        "With this model",
    ]
    for shown, figure in zip(figures, gallery(), strict=True):
        lines = shown.one("details", "lines").one("pre").text
        assert lines == "\n".join(figure_text(figure))
    did = figures[1].one("p", "did").text
    assert did == "Done here: “ the and 3” entered; draw one; temperature −2."
    assert figures[1].all("p", "words")[0].text == "You wrote  the and 3"


def test_error_of_the_model_is_on_its_page_without_an_address() -> None:
    first, *_, index = pages_of(instrument="broken")
    warning = first.one("body").all("p", "warning")[0].text
    assert "could not do all of this page: this model has no <layers>." in warning
    assert "host" not in first.text
    assert len(index.one("ol").all("li")) == 3


def test_index_has_contents_glossary_model_and_text() -> None:
    index = pages_of()[-1].one("body")
    assert index.one("h1").text == "Course  the"
    assert (
        index.one("p", "about").text == "Numbers of  the (exact, float32) · text:  the"
    )
    assert [li.text for li in index.all("li")] == [f"Page {n}  the" for n in (1, 2, 3)]
    assert index.one("dt").text == "term  the"
    assert index.one("dd").text == "A meaning x"


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("/home/someone/models/mine.gguf", "mine"),
        ("http://10.0.0.1:8080/v1#org%2Fname", "org/name on a server"),
        ("http://10.0.0.1:8080/v1", "a model on a server"),
        ("http://[", "a model on a server"),
    ],
)
def test_neither_folder_nor_address_of_the_model_is_shared(
    model: str, shown: str
) -> None:
    info = replace(FakeEngine().info, model=model)
    about = read(Handout(course_of(), info, "").index()).one("p", "about")
    assert about.text == f"Numbers of {shown} (exact, float32)"
