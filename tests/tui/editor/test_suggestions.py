"""What is said of a suggestion: always why, and the rest where there is room."""

from __future__ import annotations

import pytest

from lmtui.engine.document.suggestion import SuggestionEnd, SuggestionRules
from lmtui.tui.editor.suggestions import ghost_words


def test_ghost_words_say_why_and_what_was_read() -> None:
    words = ghost_words(
        SuggestionEnd.UNSURE,
        rules=SuggestionRules(min_prob=0.25),
        shown=False,
        window=(1024, 2048),
        total=8113,
    )
    assert words == (
        "no ghost: low confidence (p < 0.25) · Ctrl+Space shows it · "
        "reads left context only · window 1,024–2,047 of 8,113"
    )


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
