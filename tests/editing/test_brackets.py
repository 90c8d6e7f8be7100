"""Brackets: each of a pair leads to the other, and the search has an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.brackets import REACH, closed_by, pair_at

TEXTS = st.text("()[]{}a \n", max_size=40)


class Code:
    """The lines of a text, and how much of it was read."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.read = 0
        self.calls = 0

    def part(self, line: int, start: int, end: int) -> str:
        self.calls += 1
        self.read += len(self.lines[line][start:end])
        return self.lines[line][start:end]


def pair(text: str, at: int) -> tuple[int, int] | None:
    """The offsets of the pair at an offset."""
    code = Code(text)
    starts = [
        sum(len(line) + 1 for line in code.lines[:n]) for n in range(len(code.lines))
    ]
    line = text.count("\n", 0, at)
    found = pair_at(code.lines, (line, at - starts[line]), code.part)
    if found is None:
        return None
    first, second = (starts[line] + column for line, column in found)
    return first, second


def partner(text: str, at: int) -> int | None:
    """The same for the bracket at an offset, by counting."""
    for kind in ("()", "[]", "{}"):
        if text[at] in kind:
            by = 1 if text[at] == kind[0] else -1
            depth, place = 0, at
            while 0 <= place < len(text):
                depth += (text[place] == kind[0]) - (text[place] == kind[1])
                if not depth:
                    return place
                place += by
    return None


@given(TEXTS, st.data())
def test_partners_belong_to_each_other(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    found = pair(text, at)
    here = text[at : at + 1].strip("\na ")
    before = text[at - 1 : at].strip("\na ") if at else ""
    if here:
        other = partner(text, at)
        assert found == (None if other is None else (at, other))
    elif before:
        other = partner(text, at - 1)
        assert found == (None if other is None else (at - 1, other))
    else:
        assert found is None
    if found is not None:
        assert pair(text, found[1]) == (found[1], found[0])


@given(TEXTS, st.sampled_from(")]}"))
def test_closing_bracket_at_the_end_would_belong_to_one_before(
    text: str, bracket: str
) -> None:
    code, after = Code(text), text + bracket
    end = len(code.lines) - 1, len(code.lines[-1])
    found = closed_by(code.lines, end, bracket, code.part)
    other = pair(after, len(text))
    if other is None:
        assert found is None
    else:
        assert found is not None
        line = text.count("\n", 0, other[1])
        assert found == (line, other[1] - text.rfind("\n", 0, other[1]) - 1)


@pytest.mark.parametrize("bracket", ["(", ")"])
@pytest.mark.parametrize("filler", ["a", "\n", "a\n", "(" * 99 + ")" * 99 + "\n"])
def test_search_reads_a_bounded_part_of_a_large_text(bracket: str, filler: str) -> None:
    rest = filler * (100_000 // len(filler))
    code = Code(bracket + rest if bracket == "(" else rest + bracket)
    last = len(code.lines) - 1
    cursor = (0, 0) if bracket == "(" else (last, len(code.lines[last]) - 1)
    assert pair_at(code.lines, cursor, code.part) is None
    assert code.read <= REACH + 2
    assert code.calls <= REACH / 20 + 2


def test_brackets_that_are_not_code_are_skipped() -> None:
    lines = ["f(')', x)"]
    code = ['f(""", x)']
    assert pair_at(lines, (0, 1), lambda n, a, b: code[n][a:b]) == ((0, 1), (0, 8))
    assert pair_at(lines, (0, 3), lambda n, a, b: code[n][a:b]) is None
