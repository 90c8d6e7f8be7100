"""Line endings: what was not edited keeps its bytes, whatever the file mixes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.text_file import Endings, partners_of, put_back, taken_off

RAW = st.lists(
    st.sampled_from(["a", "b", "", "\n", "\r\n", "\r", "é", "\x0b\x0c\x85\u2028"])
).map("".join)
LINES = st.lists(st.sampled_from(["a", "b", "c", "", "d e"]), max_size=12)


def edited(raw: str, change: str, into: str) -> str:
    """What a file with `raw` holds after one text in it was replaced."""
    text, endings = taken_off(raw)
    assert text.count(change) == 1
    return put_back(text.replace(change, into), text, endings)


@given(RAW)
def test_unedited_text_keeps_its_line_endings(raw: str) -> None:
    text, endings = taken_off(raw)
    assert "\r" not in text
    assert put_back(text, text, endings) == raw


@given(RAW, RAW)
def test_written_text_is_read_back_the_same(raw: str, other: str) -> None:
    before, endings = taken_off(raw)
    text, _ = taken_off(other)
    assert taken_off(put_back(text, before, endings))[0] == text
    assert put_back(other, before, endings) == put_back(text, before, endings)


@given(RAW, st.data())
def test_typing_in_one_line_changes_no_other_line(
    raw: str, data: st.DataObject
) -> None:
    text, endings = taken_off(raw)
    at = data.draw(st.integers(0, len(text)))
    after = put_back(text[:at] + "new" + text[at:], text, endings)
    assert after.replace("new", "", 1) == raw


@pytest.mark.parametrize(
    ("raw", "endings", "name"),
    [
        ("", Endings(), "LF"),
        ("a", Endings(), "LF"),
        ("a\nb", Endings(), "LF"),
        ("a\r\nb\r\n", Endings("\r\n"), "CRLF"),
        ("a\rb", Endings("\r"), "CR"),
        ("a\nb\r\nc\r\n", Endings("\r\n", ("\n", "\r\n", "\r\n")), "mixed"),
        ("a\rb\n", Endings("\r", ("\r", "\n")), "mixed"),
    ],
)
def test_the_main_ending_is_that_of_most_lines(
    raw: str, endings: Endings, name: str
) -> None:
    assert taken_off(raw)[1] == endings
    assert endings.name == name


def test_a_new_line_gets_the_main_ending() -> None:
    assert edited("a\r\nb\nc\r\n", "b\n", "b\nnew\n") == "a\r\nb\nnew\r\nc\r\n"
    assert edited("a\nb", "b", "b\n") == "a\nb\n"
    assert edited("a\r\nb", "b", "b\n") == "a\r\nb\r\n"


def test_lines_between_two_edits_keep_their_endings() -> None:
    raw = "one\r\ntwo\n\nthree\r\n\nfour\nfive\r\n"
    text, endings = taken_off(raw)
    assert endings.main == "\n"
    text_now = text.replace("one\n", "ONE\nand\n").replace("five\n", "and\nFIVE\n")
    wanted = "ONE\r\nand\ntwo\n\nthree\r\n\nfour\nand\r\nFIVE\n"
    assert put_back(text_now, text, endings) == wanted


def test_adjacent_cr_and_lf_never_merge_into_crlf() -> None:
    assert edited("a\rb\nc\n", "b", "") == "a\r\rc\n"


def test_moved_line_has_no_partner() -> None:
    assert partners_of(["x", "c", "a", "b", "y"], ["a", "b", "c", "d"]) == [
        None,
        None,
        0,
        1,
        2,
    ]


def test_partners_of_100_000_lines_are_found_in_3_seconds() -> None:
    old = [f"{number // 2}" if number % 3 else "" for number in range(100_000)]
    new = ["first", *old[:50_000], "middle", *old[50_000:], "last"]
    began = time.process_time()
    partners = partners_of(new, old)
    assert time.process_time() - began < 3
    assert [old[partner] for partner in partners if partner is not None] == old


@given(LINES, LINES)
def test_partners_are_distinct_and_in_order(old: list[str], new: list[str]) -> None:
    partners = [partner for partner in partners_of(new, old) if partner is not None]
    assert partners == sorted(set(partners))
    assert all(0 <= partner < len(old) for partner in partners)


@given(LINES, st.data())
def test_distinct_lines_keep_their_partners(
    lines: list[str], data: st.DataObject
) -> None:
    old = [f"{number} {line}" for number, line in enumerate(lines)]
    number = st.integers(0, 11)
    gone, doubled = data.draw(st.sets(number)), data.draw(st.sets(number))
    new = [
        copy
        for number, line in enumerate(old)
        for copy in (["x"] * (number in doubled) + [line] * (number not in gone))
    ]
    for line, partner in zip(new, partners_of(new, old), strict=True):
        assert line == "x" or (partner is not None and old[partner] == line)
