"""What is said of a suggestion: always why, and the rest where there is room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.engine.document.suggestion import SuggestionEnd
from lmtui.tui.editor.suggestion_status import ghost_words


@given(
    st.sampled_from(SuggestionEnd),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 200),
)
def test_ghost_words_fit_the_width_and_say_why(
    end: SuggestionEnd, shown: bool, multi_line: bool, infill: bool, width: int
) -> None:
    words = ghost_words(
        end,
        shown=shown,
        multi_line=multi_line,
        infill=infill,
        window=(1024, 2048),
        total=8113,
        width=width,
    )
    assert cell_len(words) <= width
    least = ghost_words(end, shown=shown)
    if width >= 44:
        assert words.startswith(least.split(" · ", maxsplit=1)[0])
    if width >= 102:
        assert words.endswith("window 1,024–2,047 of 8,113")
        assert ("several lines" in words) == multi_line
        assert ("left context only" in words) != infill


def test_every_suggestion_end_has_its_own_words() -> None:
    said = {ghost_words(end, shown=False) for end in SuggestionEnd}
    assert len(said) == len(SuggestionEnd)
    assert all(words.startswith("no ghost: ") for words in said)


@pytest.mark.parametrize(
    ("window", "total", "told"),
    [
        (None, 0, False),
        ((0, 12), 12, False),
        ((0, 12), 13, True),
        ((1024, 2048), 2048, True),
    ],
)
def test_ghost_words_omit_a_window_over_the_whole_text(
    window: tuple[int, int] | None, total: int, told: bool
) -> None:
    words = ghost_words(SuggestionEnd.TIME, window=window, total=total)
    assert ("window" in words) == told
