"""Courses: what a page may say, and that the program's own pages are sound."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from lmtui.errors import LmtuiError
from lmtui.learn.course import FOLDER, Course, Page, Span, read_course, sentence_text
from lmtui.learn.instrument import SLIDE
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from tests.learn.courses import PAGE, write_course

COURSE = read_course(INSTRUMENTS)


def read(folder: Path, page: str = PAGE) -> Course:
    """Write a course with a page, and read it."""
    return read_course(INSTRUMENTS, write_course(folder, {"01-a-page.md": page}))


def test_page_is_read_with_its_styles_options_and_exercises(tmp_path: Path) -> None:
    (page,) = read(tmp_path / "c").pages
    assert (page.id, page.title) == ("a-page", "A page")
    assert page.before[0].spans == (
        Span("A "),
        Span("word", "strong"),
        Span(" and "),
        Span("another", "emphasis"),
        Span(", "),
        Span("code", "code"),
        Span("."),
    )
    assert page.instrument == "bars"
    assert (page.options["text"], page.options["rows"]) == ("one two", 8)
    assert [exercise.id for exercise in page.exercises] == ["typed"]
    assert page.exercises[0].sentence[1] == Span("enter", "key")
    assert page.after[0].spans == (Span("Done."),)


def test_lists_and_wrapped_paragraphs(tmp_path: Path) -> None:
    text = PAGE.replace("A **word**", "one\n*two*\n\n- first\n  goes on\n- second\n\nA")
    shown = [
        (part.is_item, sentence_text(part.spans, {}))
        for part in read(tmp_path / "c", text).pages[0].before
    ]
    assert shown[:3] == [
        (False, "one two"),
        (True, "first goes on"),
        (True, "second"),
    ]


def test_textbook_stands_apart(tmp_path: Path) -> None:
    page = PAGE.replace(
        "Done.", "Done.\n\nIn a textbook: P(x_t | x_<t) is\n**this**.\n\nMore."
    )
    (whole,) = read(tmp_path / "c", page).pages
    assert sentence_text(whole.textbook, {}) == "In a textbook: P(x_t | x_<t) is this."
    assert [sentence_text(p.spans, {}) for p in whole.after] == ["Done.", "More."]


def test_text_and_glossary_are_read(tmp_path: Path) -> None:
    course = read(tmp_path / "c")
    assert course.text == "A text. Of the course."
    assert course.glossary == (("word", (Span("[b]a piece."),)),)


def test_page_is_found_by_number_and_by_name(tmp_path: Path) -> None:
    folder = write_course(tmp_path / "c", {"02-more.md": PAGE})
    course = read_course(INSTRUMENTS, folder)
    names = ("1", "a-page", "2", "more")
    assert [course.number_of(name) for name in names] == [0, 0, 1, 1]
    with pytest.raises(LmtuiError) as caught:
        course.number_of("3")
    assert "a-page, more" in caught.value.hint


@pytest.mark.parametrize("page", COURSE.pages, ids=lambda page: page.id)
def test_names_on_a_page_are_known(page: Page) -> None:
    kind = INSTRUMENTS[page.instrument]
    sources = [inspect.getsource(part) for part in kind.__mro__[:-1]]
    assert page.exercises
    for exercise in page.exercises:
        assert any(f'"{exercise.id}"' in source for source in sources), exercise.id
    assert page.options.keys() == kind.OPTIONS.keys()
    keys = {"enter", SLIDE, *kind.ACTIONS}
    texts = [part.spans for part in (*page.before, *page.after)]
    texts += [exercise.sentence for exercise in page.exercises] + [page.textbook]
    for span in (span for text in texts for span in text if span.style == "key"):
        assert span.text in keys


def test_each_term_is_defined_once_where_it_is_first_used() -> None:
    assert len(COURSE.text) > 300_000 and COURSE.text.isascii()
    terms = [term for term, _ in COURSE.glossary]
    assert len(terms) == len(
        (FOLDER / "glossary.md").read_text(encoding="utf-8").splitlines()
    )
    assert len(set(terms)) == len(terms)
    bold = [
        span.text.lower()
        for page in COURSE.pages
        for part in (*(p.spans for p in (*page.before, *page.after)), page.textbook)
        for span in part
        if span.style == "strong"
    ]
    for term in terms:
        shown = [word for word in bold if word.rstrip("s") == term.lower().rstrip("s")]
        assert len(shown) == 1, (term, shown)
    assert len(bold) == len(terms)
    licence = (FOLDER / "LICENSE.txt").read_text()
    assert "Jane Austen" in licence and "public domain" in licence
