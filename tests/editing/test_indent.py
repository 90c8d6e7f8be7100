"""Indentation: Enter goes on with the white space of its line, or with its list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.indent import new_line

LANGUAGES = ("python", "yaml", "markdown", None)
LINES = st.text(" \t-*1.:{}()[]a漢\xa0", max_size=12)
whites = st.text(" \t", max_size=9)


@given(LINES, LINES, st.sampled_from(LANGUAGES))
def test_enter_inserts_nothing_but_blanks_and_list_marks(
    before: str, after: str, language: str | None
) -> None:
    text = new_line(before, after, language)
    if text:
        assert text.startswith("\n")
        assert set(text) <= set("\n \t-*.)[]0123456789")
    else:
        assert set(before) <= set(" \t-*1.[]\xa0") and not after.strip()


@given(whites, st.sampled_from(LANGUAGES))
def test_new_line_has_the_white_space_of_the_line_above(
    white: str, language: str | None
) -> None:
    assert new_line(f"{white}word", "", language) == f"\n{white}"


@pytest.mark.parametrize("line", ["if x:|", "f(|)", "- a|", "1. a|", "    return x|"])
def test_enter_goes_on_with_the_indentation_of_code(line: str) -> None:
    before, after = line.split("|")
    indent = before[: len(before) - len(before.lstrip())]
    assert new_line(before, after, "python") == f"\n{indent}"


@pytest.mark.parametrize("language", [None, "markdown"])
@pytest.mark.parametrize(
    ("line", "inserted"),
    [
        ("- one|", "\n- "),
        ("  * one|two", "\n  * "),
        ("-   one|", "\n-   "),
        ("1. one|", "\n2. "),
        ("9) one|", "\n10) "),
        ("- [x] done|", "\n- [ ] "),
        ("- |one", "\n- "),
        ("- |", ""),
        ("    12. |  ", ""),
        ("- [ ] |", ""),
        ("|- one", "\n"),
        ("* * *|", "\n"),
        ("-|", "\n"),
        ("**bold**|", "\n"),
        ("1984. It was|", "\n"),
        ("if x:|", "\n"),
        ("  a|  b", "\n  "),
    ],
)
def test_enter_follows_the_lists_of_prose(
    line: str, inserted: str, language: str | None
) -> None:
    before, after = line.split("|")
    assert new_line(before, after, language) == inserted
