"""Courses: what a page may say, and that everything else is refused with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.errors import LmtuiError
from lmtui.learn.course import Course, Span, first_course, read_course
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from lmtui.learn.plain import sentence_text
from tests.learn.courses import PAGE, write_course


def read(folder: Path, **files: str) -> Course:
    """Write a course, with `page` in place of its page, and read it."""
    named = {"01-a-page.md": files["page"]} if "page" in files else {}
    return read_course(write_course(folder, named), INSTRUMENTS)


def refused(folder: Path, page: str) -> LmtuiError:
    """The error for a page."""
    with pytest.raises(LmtuiError) as caught:
        read(folder, page=page)
    return caught.value


def test_page_is_read_with_its_styles_options_and_exercises(tmp_path: Path) -> None:
    course = read(tmp_path / "c")
    page = course.pages[0]
    assert (course.title, page.id, page.title) == ("A course", "a-page", "A page")
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
    text = PAGE.replace(
        "A **word**", "one\ntwo\n\n- first\n  goes on\n- second\n\nA **x"
    )
    page = read(tmp_path / "c", page=text.replace("and *another*", "y**")).pages[0]
    shown = [
        (part.is_item, "".join(span.text for span in part.spans))
        for part in page.before
    ]
    assert shown[:3] == [
        (False, "one two"),
        (True, "first goes on"),
        (True, "second"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("# A page", "A page", 1, "title is missing"),
        ("A **word**", "see https://x.org", 3, "an address"),
        ("A **word**", "see www.x.org", 3, "an address"),
        ("A **word**", "[x](y)", 3, "a link"),
        ("A **word**", "![x](y)", 3, "a link"),
        ("A **word**", "<b>x</b>", 3, "HTML"),
        ("A **word**", "<!-- x -->", 3, "HTML"),
        ("A **word**", "a\n\n## b\n\nc", 5, "a heading"),
        ("A **word**", "a\n```\nimport os\n```\n", 4, "a heading"),
        ("A **word**", "\x1b[31mred", 3, "a control character"),
        ("A **word**", "x \u202e y", 3, "a control character"),
        ("A **word**", "{nokey}", 3, "is no key"),
        ("::: bars", "::: nothing", 5, "no instrument nothing"),
        ("::: bars", ":::", 5, "has no name"),
        ("text: one two", "texts: one", 6, "no option texts"),
        ("text: one two", "text: <script>", 6, "HTML"),
        ("text: one two", "text: a\ntext: b", 7, "given twice"),
        ("text: one two", "rows: many", 6, "is no number"),
        ("text: one two", "rows: 0", 6, "out of range"),
        ("text: one two", "rows: 99", 6, "out of range"),
        ("text: one two", "what?", 6, "neither an option nor an exercise"),
        ("- typed: Write", "- jumped: Write", 7, "knows no exercise jumped"),
        ("- typed: Write, then {enter}.", "", 5, "there is no exercise"),
        ("- typed: Write", "- typed: x\n- typed: Write", 8, "is there twice"),
        ("- typed: Write", "- typed: {draw}", 7, "is no key"),
        ("Done.", "Done.\n::: bars\n:::", 11, "one instrument only"),
        ("\n:::\n", "\n", 5, "not closed"),
    ],
)
def test_wrong_line_is_refused_with_its_number(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    error = refused(tmp_path / "c", PAGE.replace(old, new, 1))
    assert f"01-a-page.md, line {line}: " in error.detail
    assert words in error.detail


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(tmp_path_factory: object, text: str) -> None:
    folder = tmp_path_factory.mktemp("c")  # type: ignore[attr-defined]
    for page in (text, PAGE.replace("A **word**", text), f"# x\n::: bars\n{text}\n:::"):
        try:
            read(folder, page=page)
        except LmtuiError as error:
            assert "01-a-page.md" in f"{error.detail}"
        except UnicodeEncodeError:
            return  # a lone surrogate can't be written into a file


def test_files_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    for name in ("../secret.txt", str(secret), "link.txt", "nothing.txt", "."):
        folder = write_course(
            tmp_path / "c", {"course.toml": f'title = "x"\ntext = "{name}"\n'}
        )
        link = folder / "link.txt"
        if not link.is_symlink():
            os.symlink(secret, link)
        with pytest.raises(LmtuiError, match="only files in its own folder"):
            read_course(folder, INSTRUMENTS)


def test_page_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.md"
    outside.write_text(PAGE)
    folder = write_course(tmp_path / "c")
    os.symlink(outside, folder / "02-other.md")
    with pytest.raises(LmtuiError, match="only files in its own folder"):
        read_course(folder, INSTRUMENTS)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("title = ", "line 1"),
        ('title = "x"\nrun = "y"', "line 2: run is unknown"),
        ("title = 3", "line 1: title is no text"),
        ('text = "x"', "the title is missing"),
        ('title = "http://x"', "line 1: an address"),
        ('title = "\\u001b[31m"', "line 1: a control character"),
    ],
)
def test_wrong_course_file_is_refused(tmp_path: Path, toml: str, words: str) -> None:
    folder = write_course(tmp_path / "c", {"course.toml": toml})
    with pytest.raises(LmtuiError) as caught:
        read_course(folder, INSTRUMENTS)
    assert words in caught.value.detail


def test_missing_and_empty_folders_and_doubled_numbers(tmp_path: Path) -> None:
    with pytest.raises(LmtuiError, match="there is no such course"):
        read_course(tmp_path / "none", INSTRUMENTS)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "course.toml").write_text('title = "x"')
    with pytest.raises(LmtuiError, match="has no pages"):
        read_course(tmp_path / "e", INSTRUMENTS)
    folder = write_course(tmp_path / "c", {"1-again.md": PAGE})
    with pytest.raises(LmtuiError) as caught:
        read_course(folder, INSTRUMENTS)
    assert "another page has this number" in caught.value.detail


def test_too_large_and_binary_pages_are_refused(tmp_path: Path) -> None:
    folder = write_course(tmp_path / "c", {"01-a-page.md": PAGE + "x" * 200_001})
    with pytest.raises(LmtuiError, match="too large"):
        read_course(folder, INSTRUMENTS)
    (folder / "01-a-page.md").write_bytes(b"# x\n\xff")
    with pytest.raises(LmtuiError, match="UTF-8"):
        read_course(folder, INSTRUMENTS)


def test_glossary_is_read_and_checked(tmp_path: Path) -> None:
    files = {"glossary.md": "**token**: a piece.\n\n**bit**: `x`.\n"}
    folder = write_course(tmp_path / "c", files)
    terms = read_course(folder, INSTRUMENTS).glossary
    assert [term for term, _ in terms] == ["token", "bit"]
    (folder / "glossary.md").write_text("**a**: b\nc\n")
    with pytest.raises(LmtuiError) as caught:
        read_course(folder, INSTRUMENTS)
    assert "glossary.md, line 2" in caught.value.detail


def test_page_is_found_by_number_and_by_name(tmp_path: Path) -> None:
    folder = write_course(tmp_path / "c", {"02-more.md": PAGE})
    course = read_course(folder, INSTRUMENTS)
    assert [course.number_of(name) for name in ("1", "a-page", "2", "more")] == [
        0, 0, 1, 1,
    ]  # fmt: skip
    with pytest.raises(LmtuiError) as caught:
        course.number_of("3")
    assert "a-page, more" in caught.value.hint


def test_course_of_the_program_is_sound() -> None:
    course = read_course(first_course(), INSTRUMENTS)
    assert len(course.text) > 300_000
    terms = [term for term, _ in course.glossary]
    assert len(set(terms)) == len(terms)
    bold = [
        span.text.lower()
        for page in course.pages
        for part in (*(p.spans for p in (*page.before, *page.after)), page.textbook)
        for span in part
        if span.style == "strong"
    ]
    for term in terms:  # defined once, where it is first used
        shown = [word for word in bold if word.rstrip("s") == term.lower().rstrip("s")]
        assert len(shown) == 1, (term, shown)
    assert len(bold) == len(terms)
    licence = (first_course() / "LICENSE.txt").read_text()
    assert "public domain" in licence


def test_textbook_and_questions_stand_apart(tmp_path: Path) -> None:
    page = PAGE.replace("- typed", "- paper: Which is the *first*?\n- typed").replace(
        "Done.", "Done.\n\nIn a textbook: P(x_t | x_<t) is\n**this**.\n\nMore."
    )
    (whole,) = read(tmp_path / "c", page=page).pages
    assert [each.id for each in whole.exercises] == ["typed"]
    (question,) = whole.questions
    assert sentence_text(question, {}) == "Which is the first?"
    assert sentence_text(whole.textbook, {}) == "In a textbook: P(x_t | x_<t) is this."
    assert [sentence_text(p.spans, {}) for p in whole.after] == ["Done.", "More."]


@pytest.mark.parametrize("sign", ["x_<t>", "<t", "x<b>", "_<b>"])
def test_tags_stay_refused(tmp_path: Path, sign: str) -> None:
    error = refused(tmp_path / "c", PAGE.replace("Done.", f"Done {sign}."))
    assert "HTML" in error.detail
