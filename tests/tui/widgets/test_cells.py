"""Text in terminal cells: what of it is left as it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmtui.tui.widgets.cells import clusters, limit_combining

FAMILY = "\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e8\U0001f1ed"


@given(
    st.lists(
        st.sampled_from(
            ["a", "漢", "\n", "\t", "\u0301", "\u200d", "\x07", FAMILY, FLAG]
        )
        | st.characters(),
        max_size=12,
    )
)
def test_text_is_limited_character_by_character(parts: list[str]) -> None:
    """All at once is the same as one by one, also where a shorter way is taken."""
    text = "".join(parts)
    assert limit_combining(text) == "".join(map(limit_combining, clusters(text)))


def test_text_without_marks_stays() -> None:
    for text in ("漢字 and\nwords é", FLAG, FLAG * 2, "e\u0301", FAMILY):
        assert limit_combining(text) == text
