"""Courses: what a page may say, and that everything else is refused with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.errors import LmtuiError
from lmtui.learn.course import Course, Span, first_course, read_course, sentence_text
from lmtui.learn.instruments.catalogue import INSTRUMENTS
from tests.learn.courses import PAGE, write_course


def read(folder: Path, page: str = PAGE, **files: str) -> Course:
    """Write a course with a page and other files, and read it."""
    named = {name.replace("_", "."): text for name, text in files.items()}
    return read_course(
        write_course(folder, {"01-a-page.md": page, **named}), INSTRUMENTS
    )


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


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("# A page", "A page", 1, "title is missing"),
        ("# A page", "", 1, "title is missing"),
        ("# A page", "#", 1, "title is missing"),
        ("A **word**", "[x](y)", 3, "not possible on a page: link"),
        ("A **word**", "![x](y)", 3, "not possible on a page: image"),
        ("A **word**", "a\n\n## b\n\nc", 5, "not possible on a page: heading"),
        ("A **word**", "> a\n\nc", 3, "not possible on a page: blockquote"),
        ("A **word**", "{nokey}", 3, "{nokey} is no key"),
        ("```bars", "```nothing", 5, "no instrument nothing"),
        ("```bars", "```", 5, "has no name"),
        ("text: one two", "texts: one", 6, "no option texts"),
        ("text: one two", "rows: many", 6, "'many' can't be used here"),
        ("text: one two", "rows: 0", 6, "0 is not from 1 to 20"),
        ("text: one two", "rows: 99", 6, "99 is not from 1 to 20"),
        ("text: one two", "what?", 6, "neither an option nor an exercise"),
        ("- typed: Write", "- jumped: Write", 7, "knows no exercise jumped"),
        ("- typed: Write, then {enter}.", "", 5, "there is no exercise"),
        ("- typed: Write", "- typed: x\n- typed: Write", 8, "is there twice"),
        ("- typed: Write", "- typed: {draw}", 7, "is no key"),
        ("Done.", "Done.\n```bars\n```", 11, "one instrument only"),
        ("\n```\n", "\n", 9, "neither an option nor an exercise"),
    ],
)
def test_wrong_line_is_refused_with_its_number(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    with pytest.raises(LmtuiError) as caught:
        read(tmp_path / "c", PAGE.replace(old, new, 1))
    assert f"01-a-page.md, line {line}: " in caught.value.detail
    assert words in caught.value.detail
    assert caught.value.hint or "twice" in words


def test_page_of_an_earlier_version_is_told_what_to_change(tmp_path: Path) -> None:
    page = PAGE.replace("```bars", "::: bars").replace("```", ":::")
    with pytest.raises(LmtuiError) as caught:
        read(tmp_path / "c", page)
    assert "01-a-page.md, line 5: the page has no instrument" in caught.value.detail
    assert "Write ```NAME" in caught.value.hint


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("c")
    for page in (text, PAGE.replace("A **word**", text), f"# x\n```bars\n{text}\n```"):
        try:
            (whole,) = read(folder, page).pages
        except LmtuiError as error:
            assert "01-a-page.md" in f"{error.detail}"
        except UnicodeEncodeError:
            return  # a lone surrogate can't be written into a file
        else:
            shown = "".join(sentence_text(p.spans, {}) for p in whole.before)
            assert not any(ord(sign) < 32 for sign in shown)


def test_markup_and_control_characters_stay_text(tmp_path: Path) -> None:
    page = PAGE.replace("A **word**", "<b>x</b> [bold] <|im_end|> \x1b[31m \u202e A")
    files = {"course_toml": 'title = "\\u001b[31m"', "glossary_md": "**\x9b**: \x07x\n"}
    course = read(tmp_path / "c", page, **files)
    shown = sentence_text(course.pages[0].before[0].spans, {})
    assert shown.startswith("<b>x</b> [bold] <|im_end|> ␛[31m ⟨U+202E⟩ A")
    assert course.title == "␛[31m"
    assert course.glossary == (("⟨U+009B⟩", (Span("␇x"),)),)


def test_files_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text(PAGE)
    folder = write_course(tmp_path / "c")
    os.symlink(secret, folder / "link.txt")
    for name in ("../secret.md", str(secret), "link.txt"):
        (folder / "course.toml").write_text(f'title = "x"\ntext = "{name}"\n')
        with pytest.raises(LmtuiError, match="only files in its own folder"):
            read_course(folder, INSTRUMENTS)
    write_course(folder)
    os.symlink(secret, folder / "02-other.md")
    with pytest.raises(LmtuiError, match="only files in its own folder"):
        read_course(folder, INSTRUMENTS)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("title = ", "course.toml: Invalid value"),
        ('title = "x"\nrun = "y"', "line 2: run is unknown"),
        ("title = 3", "line 1: title is no text"),
        ('text = "x"', "the title is missing"),
    ],
)
def test_wrong_course_file_is_refused(tmp_path: Path, toml: str, words: str) -> None:
    with pytest.raises(LmtuiError) as caught:
        read(tmp_path / "c", course_toml=toml)
    assert words in caught.value.detail


def test_missing_and_empty_folders_and_doubled_names(tmp_path: Path) -> None:
    with pytest.raises(LmtuiError, match="there is no such course"):
        read_course(tmp_path / "none", INSTRUMENTS)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "course.toml").write_text('title = "x"')
    with pytest.raises(LmtuiError, match="has no pages"):
        read_course(tmp_path / "e", INSTRUMENTS)
    folder = write_course(tmp_path / "c", {"02-a-page.md": PAGE})
    with pytest.raises(LmtuiError) as caught:
        read_course(folder, INSTRUMENTS)
    assert "02-a-page.md, line 1: another page has this name" in caught.value.detail
    (folder / "02-a-page.md").write_bytes(b"# x\n\xff")
    with pytest.raises(LmtuiError, match="UTF-8"):
        read_course(folder, INSTRUMENTS)


def test_glossary_is_read_and_checked(tmp_path: Path) -> None:
    course = read(tmp_path / "c", glossary_md="**token**: a piece.\n\n**bit**: `x`.\n")
    assert [term for term, _ in course.glossary] == ["token", "bit"]
    with pytest.raises(LmtuiError) as caught:
        read(tmp_path / "c", glossary_md="**a**: b\nc\n")
    assert "glossary.md, line 2" in caught.value.detail


def test_page_is_found_by_number_and_by_name(tmp_path: Path) -> None:
    folder = write_course(tmp_path / "c", {"02-more.md": PAGE})
    course = read_course(folder, INSTRUMENTS)
    names = ("1", "a-page", "2", "more")
    assert [course.number_of(name) for name in names] == [0, 0, 1, 1]
    with pytest.raises(LmtuiError) as caught:
        course.number_of("3")
    assert "a-page, more" in caught.value.hint


def test_course_of_the_program_is_sound() -> None:
    course = read_course(first_course(), INSTRUMENTS)
    assert len(course.text) > 300_000 and course.text.isascii()
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
    assert "Jane Austen" in licence and "public domain" in licence
