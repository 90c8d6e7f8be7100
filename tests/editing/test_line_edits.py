"""Edits of lines: the lines that are selected change, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.line_edits import (
    Selected,
    dedented,
    duplicated,
    indented,
    joined,
    lines_of,
    moved,
)
from tests.editing.line_texts import applied, selected, selections

STEPS = st.sampled_from(("\t", "  ", "    "))


code = selections(st.text(" \tab\n", max_size=30))


@given(code, STEPS)
def test_dedent_takes_back_what_indent_adds(
    case: tuple[str, Selected], step: str
) -> None:
    text, selection = case
    edit = indented(text.split("\n"), selection, step)
    deeper = applied(text, edit)
    first, last = lines_of(selection)
    for number, (old, new) in enumerate(
        zip(text.split("\n"), deeper.split("\n"), strict=True)
    ):
        inside = first <= number <= last and old
        assert new == (step + old if inside else old)
    if edit is not None:
        back = dedented(deeper.split("\n"), edit.selection, step)
        assert applied(deeper, back) == text
        assert selected(deeper, edit.selection) == selected(text, selection)


@given(code, STEPS)
def test_dedent_takes_white_space_alone(case: tuple[str, Selected], step: str) -> None:
    text, selection = case
    edit = dedented(text.split("\n"), selection, step)
    after = applied(text, edit)
    size = 4 if step == "\t" else len(step)
    for old, new in zip(text.split("\n"), after.split("\n"), strict=True):
        assert old.endswith(new) and not old.removesuffix(new).strip()
        assert len(old.removesuffix(new).expandtabs(size)) <= size
    if edit is not None:
        assert selected(after, edit.selection) == selected(text, selection)


@given(code, st.sampled_from((-1, 1)))
def test_lines_moved_there_and_back_are_as_before(
    case: tuple[str, Selected], by: int
) -> None:
    text, selection = case
    lines = text.split("\n")
    edit = moved(lines, selection, by)
    first, last = lines_of(selection)
    if edit is None:
        end = len(lines) - (not lines[-1] and len(lines) > 1)
        at_edge = last + 1 >= end if by > 0 else first == 0 or last >= end
        assert at_edge or not lines[last if by > 0 else first - 1]
        return
    after = applied(text, edit)
    assert after.endswith("\n") == text.endswith("\n")
    assert after.split("\n")[first + by : last + 1 + by] == lines[first : last + 1]
    assert selected(after, edit.selection) == selected(text, selection)
    back = moved(after.split("\n"), edit.selection, -by)
    assert back is not None
    assert applied(after, back) == text
    clamped = (len(lines), 0) in [(line + by, column) for line, column in selection]
    assert clamped or back.selection == selection


@given(code)
def test_duplicate_adds_the_selection_or_the_line(case: tuple[str, Selected]) -> None:
    text, selection = case
    lines = text.split("\n")
    edit = duplicated(lines, selection)
    after = applied(text, edit)
    (top, left), (bottom, right) = sorted(selection)
    if selection[0] == selection[1]:
        assert after.split("\n") == [*lines[: top + 1], *lines[top:]]
        assert edit.selection == ((top + 1, left), (top + 1, left))
        return
    starts = [sum(len(line) + 1 for line in lines[:n]) for n in range(len(lines))]
    low, high = starts[top] + left, starts[bottom] + right
    assert after == text[:high] + text[low:high] + text[high:]
    assert selected(after, edit.selection) == selected(text, selection)
    assert min(edit.selection) == (bottom, right)
    assert (edit.selection[0] < edit.selection[1]) == (selection[0] < selection[1])


@given(code)
def test_joined_lines_lose_nothing_but_white_space(case: tuple[str, Selected]) -> None:
    text, selection = case
    edit = joined(text.split("\n"), selection)
    after = applied(text, edit)
    first, last = lines_of(selection)
    assert "".join(after.split()) == "".join(text.split())
    assert after.split() == text.split()
    assert after.endswith("\n") == text.endswith("\n")
    if edit is not None:
        assert after.count("\n") == text.count("\n") - max(1, last - first)


def test_joined_lines_meet_at_a_space() -> None:
    for lines, line, column in (
        (["a ", "  b"], "a b", 1),
        (["a", ""], "a", 1),
        (["", "  b"], "  b", 0),
        (["  a", "b", "c"], "  a b c", 5),
    ):
        edit = joined([*lines, "end"], ((0, 0), (len(lines) - 1, 9)))
        assert edit is not None
        assert edit.lines == (line,)
        assert edit.selection == ((0, column), (0, column))
    assert joined(["a", ""], ((0, 0), (0, 0))) is None
