"""Indentation: the white space of a line goes on, and blocks begin a step deeper."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.indent import new_line, step_of, to_next_stop, to_previous_stop

LANGUAGES = ("python", "javascript", "yaml", "markdown", None)
STEPS = ("\t", "  ", "    ")
LINES = st.text(" \t-*1.:{}()[]a漢\xa0", max_size=12)
whites = st.text(" \t", max_size=9)


def enter(line: str, *, language: str | None = "python", step: str = "    ") -> str:
    """A line after Enter at its `|`, with the cursor as `|`."""
    before, after = line.split("|")
    new = new_line(before, after, step=step, language=language)
    head, tail = before[: len(before) - new.before], after[new.after :]
    return head + new.text[: new.cursor] + "|" + new.text[new.cursor :] + tail


@given(LINES, LINES, st.sampled_from(LANGUAGES), st.sampled_from(STEPS))
def test_enter_changes_nothing_but_blanks_and_list_marks(
    before: str, after: str, language: str | None, step: str
) -> None:
    new = new_line(before, after, step=step, language=language)
    gone = before[len(before) - new.before :] + after[: new.after]
    assert 0 <= new.cursor <= len(new.text)
    if new.text:
        assert gone.strip(" \t") == ""
        assert new.text.startswith("\n")
    else:
        assert (new.before, new.after) == (len(before), len(after))
        assert set(gone) <= set(" \t-*1.")


@given(whites, st.sampled_from(LANGUAGES), st.sampled_from(STEPS))
def test_new_line_has_the_white_space_of_the_line_above(
    white: str, language: str | None, step: str
) -> None:
    line = f"{white}word|"
    assert enter(line, language=language, step=step) == f"{white}word\n{white}|"


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("if x:|", "if x:\n    |"),
        ("\tif x:  |", "\tif x:  \n\t    |"),
        ("if x:| # why", "if x:\n    |# why"),
        ("if| x:", "if\n|x:"),
        ("f(|)", "f(\n    |\n)"),
        ("  f(|  ) + 1", "  f(\n      |\n  ) + 1"),
        ("f(|a, b)", "f(\n    |a, b)"),
        ("f(|]", "f(\n    |]"),
        ("        return x|", "        return x\n    |"),
        ("    pass|", "    pass\n|"),
        ("      raise E|", "      raise E\n    |"),
        ("    return f(|", "    return f(\n        |"),
        ("    return f(a,|", "    return f(a,\n    |"),
        ("    return |x", "    return \n    |x"),
        ("    returned = 1|", "    returned = 1\n    |"),
        ("    |", "\n    |"),
        ("  |  a", "\n  |  a"),
        ("|  a", "\n|  a"),
        ("- a|", "- a\n|"),
    ],
)
def test_enter_follows_the_blocks_of_python(line: str, after: str) -> None:
    assert enter(line) == after


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("\tif (x) {|}", "\tif (x) {\n\t\t|\n\t}"),
        ("\tcase 1:|", "\tcase 1:\n\t|"),
        ("\treturn x;|", "\treturn x;\n\t|"),
    ],
)
def test_enter_follows_the_brackets_of_other_languages(line: str, after: str) -> None:
    assert enter(line, language="javascript", step="\t") == after


def test_enter_ignores_strings_and_comments() -> None:
    line = "    x = 1  # so:"
    code = "    x = 1       "
    assert new_line(line, "", language="python", code=code).text == "\n    "
    assert new_line(line, "", language="python").text == "\n        "


@pytest.mark.parametrize("language", [None, "markdown"])
@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("- one|", "- one\n- |"),
        ("  * one| two", "  * one\n  * |two"),
        ("-   one|", "-   one\n-   |"),
        ("1. one|", "1. one\n2. |"),
        ("9) one|", "9) one\n10) |"),
        ("- [x] done|", "- [x] done\n- [ ] |"),
        ("- |one", "- \n- |one"),
        ("- |", "|"),
        ("    12. |  ", "|"),
        ("- [ ] |", "|"),
        ("|- one", "\n|- one"),
        ("* * *|", "* * *\n|"),
        ("-|", "-\n|"),
        ("**bold**|", "**bold**\n|"),
        ("1984. It was|", "1984. It was\n|"),
        ("if x:|", "if x:\n|"),
        ("  a|  b", "  a\n  |  b"),
    ],
)
def test_enter_follows_the_lists_of_prose(
    line: str, after: str, language: str | None
) -> None:
    assert enter(line, language=language) == after


@given(whites, st.sampled_from(STEPS))
def test_previous_stop_is_reached_step_by_step(white: str, step: str) -> None:
    size = 4 if step == "\t" else len(step)
    while white:
        shorter = to_previous_stop(white, step)
        assert white.startswith(shorter) and shorter != white
        cells = len(shorter.expandtabs(4))
        assert cells % size == 0 or "\t" in white
        assert cells < len(white.expandtabs(4))
        white = shorter


@given(st.integers(0, 30), st.sampled_from(("  ", "   ", "    ")))
def test_next_stop_is_a_multiple_of_the_step(cells: int, step: str) -> None:
    white = to_next_stop(cells, step)
    assert 0 < len(white) <= len(step)
    assert (cells + len(white)) % len(step) == 0


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("", "    "),
        ("a\nb", "    "),
        ("a\n  b\n  c\nd\n  e\n      f", "  "),
        ("a\n\tb\n\t\tc\n  d", "\t"),
        ("/*\n * a\n * b\n */\na\n   b", "   "),
        ("a\n    b\n\n      \nc\n    d\n          e", "    "),
    ],
)
def test_step_is_the_one_that_most_lines_use(text: str, step: str) -> None:
    assert step_of(text.split("\n")) == step
