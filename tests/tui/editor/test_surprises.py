"""The list of surprises: the words in their places, to go to."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from textual.widgets import Static

from lmtui.editing.surprises import SurprisingWord, surprising_words
from lmtui.partial import RankAbove
from lmtui.tui.editor.pickers import SurprisesScreen, surprise_rows
from tests.tui.hosts import HOSTILE, Host, safe

TEXT = "The capital of Frunce is\nParis, and Frunce is a country."
TOKENS = [
    SurprisingWord(14, 21, 9.0, 800),
    SurprisingWord(25, 30, 2.5, 3),
    SurprisingWord(36, 42, 14.25),
]
PLACES = surprising_words(TEXT, TOKENS)


class Lister(Host):
    """Lists places, and keeps the answer."""

    def __init__(self, text: str, places: list[SurprisingWord]) -> None:
        super().__init__(Static())
        self._listed = text, places
        self.answers: list[SurprisingWord | None] = []

    def on_mount(self) -> None:
        self.push_screen(SurprisesScreen(*self._listed), self.answers.append)


async def test_surprises_screen_sorts_by_bits_and_answers_the_chosen_word() -> None:
    app = Lister(TEXT, PLACES)
    async with app.run_test(size=(80, 24)) as pilot:
        rows = [line for line in app.lines() if "bits" in line]
        assert [row.split()[1] for row in rows] == ["2:12", "1:16", "2:1"]
        assert "9.0 bits" in rows[1] and "rank 800" in rows[1]
        assert "capital of Frunce is" in rows[1]
        await pilot.press("down", "enter")
        assert app.answers == [PLACES[0]]


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
def test_surprise_rows_align_hostile_words(words: str) -> None:
    text = f"漢{words}\tx\n\x1b{words} y"
    places = [
        SurprisingWord(0, 1, 3.0, 1),
        SurprisingWord(len(text) - 1, len(text), 3),
    ]
    rows = surprise_rows(text, places)
    for row in rows:
        assert safe(row.plain) and "\n" not in row.plain
    starts = {cell_len(row.plain[: span.start]) for row in rows for span in row.spans
              if "bold" in str(span.style)}  # fmt: skip
    assert len(starts) == 1


def test_surprise_rows_show_ranks_as_far_as_they_are_known() -> None:
    tokens = [
        SurprisingWord(0, 1, 9.0, RankAbove(500)),
        SurprisingWord(1, 2, 8.0, RankAbove(500)),
        SurprisingWord(2, 3, 7.0, 1200),
    ]
    rows = surprise_rows("ab\n", surprising_words("ab\n", tokens))
    assert ["rank >500" in rows[0].plain, "rank 1,200" in rows[1].plain] == [True, True]
