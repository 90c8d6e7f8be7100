"""Texts with a selection, before and after an edit of lines."""

from __future__ import annotations

from hypothesis import strategies as st

from lmtui.editing.line_edits import LineEdit, Selected


@st.composite
def selections(draw: st.DrawFn, text: st.SearchStrategy[str]) -> tuple[str, Selected]:
    """A text, and two locations in it in any order."""
    found = draw(text)
    lines = found.split("\n")

    def location() -> tuple[int, int]:
        line = draw(st.integers(0, len(lines) - 1))
        return line, draw(st.integers(0, len(lines[line])))

    return found, (location(), location())


def applied(text: str, edit: LineEdit | None) -> str:
    """The text after an edit."""
    if edit is None:
        return text
    lines = text.split("\n")
    lines[edit.first : edit.last + 1] = edit.lines
    return "\n".join(lines)


def selected(text: str, selection: Selected) -> str:
    """What is selected, without white space."""
    lines = text.split("\n")
    low, high = sorted(selection)
    starts = [sum(len(line) + 1 for line in lines[:n]) for n in range(len(lines))]
    part = text[starts[low[0]] + low[1] : starts[high[0]] + high[1]]
    return "".join(part.split())
