"""Line endings: a file has one, and what was not edited keeps its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmtui.editing.text_file import TextFile, piped, split_ending, to_bytes

RAW = st.lists(
    st.sampled_from(["a", "b", "", "\n", "\r\n", "\r", "é", "\x0b\x0c\x85\u2028"])
).map("".join)


@given(RAW, st.data())
def test_typing_changes_nothing_but_what_is_typed(
    raw: str, data: st.DataObject
) -> None:
    file = piped(raw.encode())
    at = data.draw(st.integers(0, len(file.text)))
    after = to_bytes(file, file.text[:at] + "new" + file.text[at:]).decode()
    assert after.replace("new", "", 1) == raw


@given(st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.text("abé"), min_size=2))
def test_written_text_is_read_back_the_same(ending: str, lines: list[str]) -> None:
    text = "\n".join(lines)
    file = TextFile(Path("a"), "", ending=ending)
    again = piped(to_bytes(file, text))
    assert (again.text, again.ending) == (text, ending)


@pytest.mark.parametrize(
    ("raw", "text", "ending", "name"),
    [
        ("", "", "\n", "LF"),
        ("a", "a", "\n", "LF"),
        ("a\nb", "a\nb", "\n", "LF"),
        ("a\r\nb\r\n", "a\nb\n", "\r\n", "CRLF"),
        ("a\rb", "a\nb", "\r", "CR"),
        ("a\nb\r\nc\r\n", "a\nb\r\nc\r\n", "\n", "mixed"),
        ("a\rb\n", "a\rb\n", "\n", "mixed"),
        ("a\r\r\n", "a\r\r\n", "\n", "mixed"),
    ],
)
def test_only_a_newline_ends_lines_where_endings_are_mixed(
    raw: str, text: str, ending: str, name: str
) -> None:
    assert split_ending(raw) == (text, ending)
    assert piped(raw.encode()).endings == name
