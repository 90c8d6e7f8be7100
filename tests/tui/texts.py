"""Random texts as they are found in files, and some that are not."""

from __future__ import annotations

from hypothesis import strategies as st

PIECES = (
    "a", "word", " ", "  ", "\t", "\n", "-", "漢", "字", "かな", "é", "e\u0301", "❤️",
    "👨‍👩‍👧", "👍🏽", "🇩🇪", "\u200d", "\u0301", "\u0301" * 7, "\r", "\x1b[31m", "\x00",
    "\x9b", "\u202e", "\u2028", "\x0c", "\xa0", "[b]", "antidisestablishmentarianism",
)  # fmt: skip


def texts(most: int = 30) -> st.SearchStrategy[str]:
    """A text of at most so many of these pieces."""
    return st.lists(st.sampled_from(PIECES), max_size=most).map("".join)


@st.composite
def edits(draw: st.DrawFn, text: str) -> tuple[int, int, str]:
    """A place in a text, another one, and what is to stand between them."""
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 9)))
    return start, end, draw(texts(4))
