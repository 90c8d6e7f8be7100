"""Diffs: from the first text and its diff, the second follows."""

from __future__ import annotations

import difflib
import re

from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.diff import CONTEXT, diff_lines, hunks

TEXTS = st.lists(st.sampled_from("abcd"), max_size=30).map("\n".join)


@given(TEXTS, TEXTS)
def test_diff_lines_hold_both_texts(first: str, second: str) -> None:
    lines = list(diff_lines(first, second))
    assert "\n".join(x.text for x in lines if x.sign != "+") == first
    assert "\n".join(x.text for x in lines if x.sign != "-") == second


@given(TEXTS, TEXTS)
def test_hunks_patch_the_first_text_into_the_second(first: str, second: str) -> None:
    old, patched, at = first.split("\n"), [], 0
    for header, lines in hunks(first, second):
        numbers = re.fullmatch(r"@@ -(\d+),(\d+) \+(\d+),(\d+) @@", header)
        assert numbers is not None
        start, count, new_start, new_count = map(int, numbers.groups())
        patched += old[at : start - 1]
        assert len(patched) == new_start - 1
        before = [line.text for line in lines if line.sign != "+"]
        after = [line.text for line in lines if line.sign != "-"]
        at = start - 1 + count
        assert before == old[start - 1 : at]
        assert len(after) == new_count
        patched += after
    assert "\n".join(patched + old[at:]) == second


@given(TEXTS)
def test_equal_texts_have_no_hunks(text: str) -> None:
    assert list(hunks(text, text)) == []


@given(st.integers(0, 30), st.integers(0, 30))
def test_hunks_are_those_of_a_unified_diff(one: int, other: int) -> None:
    first = [str(number) for number in range(31)]
    second = [f"{line}!" if n in (one, other) else line for n, line in enumerate(first)]
    same = [*difflib.unified_diff(first, second, n=CONTEXT, lineterm="")][2:]
    ours = []
    for header, lines in hunks("\n".join(first), "\n".join(second)):
        ours += [header, *(line.sign + line.text for line in lines)]
    assert ours == same
