"""Comments: two keys leave a text as it was, and a comment ends where its line does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.comments import Signs, signs_of, toggled
from lmtui.editing.line_edits import Selected, lines_of
from tests.editing.line_texts import applied, selections

LANGUAGES = ("python", "javascript", "css", "html", "sql")
code = selections(st.text(" \ta\n#/*-!<>\\", max_size=40))


def signs(language: str) -> Signs:
    found = signs_of(language)
    assert found is not None
    return found


def toggle(text: str, language: str) -> str:
    """A text, all of it selected, after the key."""
    lines = text.split("\n")
    every = (0, 0), (len(lines) - 1, len(lines[-1]))
    return applied(text, toggled(lines, every, signs(language)))


@given(code, st.sampled_from(LANGUAGES))
def test_two_toggles_restore_a_text_that_is_no_comment(
    case: tuple[str, Selected], language: str
) -> None:
    text, selection = case
    edit = toggled(text.split("\n"), selection, signs(language))
    once = applied(text, edit)
    if edit is None or len(once) < len(text):
        return  # blank, or a comment before
    back = toggled(once.split("\n"), edit.selection, signs(language))
    assert applied(once, back) == text
    assert back is not None and back.selection == selection


@given(code, st.sampled_from(LANGUAGES))
def test_toggle_changes_the_selected_lines_and_no_blank_one(
    case: tuple[str, Selected], language: str
) -> None:
    text, selection = case
    edit = toggled(text.split("\n"), selection, signs(language))
    after = applied(text, edit)
    first, last = lines_of(selection)
    pairs = zip(text.split("\n"), after.split("\n"), strict=True)
    for number, (old, new) in enumerate(pairs):
        if not first <= number <= last or not old.strip():
            assert old == new
        else:
            assert old != new


@given(st.text("a*/\\ -<>!", max_size=20), st.sampled_from(("css", "html")))
def test_comment_between_signs_ends_at_the_end_of_its_line(
    line: str, language: str
) -> None:
    begin, end = signs(language).begin, signs(language).end
    after = toggle(line, language)
    if line.strip() and len(after) > len(line):
        assert after.strip().startswith(begin)
        inner = after.strip().removeprefix(begin)
        assert inner.index(end) == len(inner) - len(end)


@pytest.mark.parametrize(
    ("language", "text", "after"),
    [
        ("python", "    a\n\n      b", "    # a\n\n    #   b"),
        ("python", "#a\n  # b\n#  c", "a\n  b\n c"),
        ("python", "# a\nb", "# # a\n# b"),
        ("javascript", "\ta\n  b", "// \ta\n//   b"),
        ("javascript", "/* a */", "// /* a */"),
        ("css", "a: b; /* c */", "/* a: b; /* c *\\/ */"),
        ("css", "/*a*/", "a"),
        ("css", "/* a */ b {} /* c */", "/* /* a *\\/ b {} /* c *\\/ */"),
        ("html", "<p>--</p>", "<!-- <p>-\\-</p> -->"),
        ("markdown", "<!-- a --> ", "a "),
        ("sql", "select 1", "-- select 1"),
        ("python", " \n\t", " \n\t"),
    ],
)
def test_toggle_gives_the_expected_text(language: str, text: str, after: str) -> None:
    assert toggle(text, language) == after


def test_languages_without_comments_have_no_signs() -> None:
    assert signs_of(None) is signs_of("json") is signs_of("unheard") is None
