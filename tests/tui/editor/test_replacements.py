"""Replacements: asked for, shown with their numbers, and chosen."""

from __future__ import annotations

import math

import pytest
from rich.cells import cell_len
from textual.widgets import Static

from lmtui.engine.types import Replacement
from lmtui.errors import LmtuiError
from lmtui.tui.editor.pickers import (
    ASKING,
    NOTHING,
    ReplacementsScreen,
    change_words,
    replacement_rows,
)
from tests.tui.hosts import HOSTILE, Host, safe

FOUND = (
    Replacement("Paris", math.log(0.5), ", and it is", -2.25),
    Replacement("Lyon", math.log(0.02), " is known", 0.0),
    Replacement("the", math.log(0.00001), " most", 12.5),
)


class Chooser(Host):
    """Offers replacements, and keeps the answer."""

    def __init__(self) -> None:
        super().__init__(Static())
        self.asked = ReplacementsScreen("Lyon")
        self.answers: list[Replacement | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.asked, self.answers.append)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 16)])
async def test_replacements_screen_waits_and_then_shows_the_list(
    size: tuple[int, int],
) -> None:
    app = Chooser()
    async with app.run_test(size=size) as pilot:
        assert "In place of “Lyon”" in app.text() and ASKING in app.text()
        await pilot.press("enter")
        assert app.answers == []
        app.asked.show(FOUND)
        await pilot.pause()
        assert ASKING not in app.text()
        rows = [line for line in app.lines() if "%" in line]
        assert ["●" in row for row in rows] == [False, True, False]
        assert "50.0%" in rows[0]
        await pilot.press("down", "down", "enter")
        assert app.answers == [FOUND[2]]


async def test_arrow_keys_before_the_list_arrives_are_remembered() -> None:
    app = Chooser()
    async with app.run_test(size=(80, 24)) as pilot:
        assert "Enter works once the words are there" in app.text()
        await pilot.press("down", "down", "up", "enter")
        assert app.answers == []
        app.asked.show(FOUND)
        await pilot.press("enter")
        assert app.answers == [FOUND[1]]


async def test_replacements_found_before_the_screen_opens_are_shown() -> None:
    app = Chooser()
    app.asked.show(FOUND)
    async with app.run_test(size=(80, 24)) as pilot:
        assert "Paris" in app.text() and "+1.6 " in app.text()
        await pilot.press("escape")
        assert app.answers == [None]


async def test_replacements_screen_tells_an_empty_list_and_an_error() -> None:
    app = Chooser()
    async with app.run_test(size=(80, 24)) as pilot:
        app.asked.show(())
        await pilot.pause()
        assert NOTHING in app.text()
        app.asked.show_error(LmtuiError("no [model]", "a\x1bb", "Load one."))
        await pilot.pause()
        assert "no [model]" in app.text() and "Load one." in app.text()
        assert safe(app.text())
        await pilot.press("enter", "escape")
        assert app.answers == [None]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
        (0.0, "0.0"),
        (-0.01, "0.0"),
        (3.0, "−2.1"),
        (-3000.0, "+2,079.4"),
    ],
)
def test_change_words_turn_surprisal_bits_into_signed_nats(
    change: float | None, words: str
) -> None:
    assert change_words(change) == words


def test_replacement_rows_draw_a_newline_as_a_sign() -> None:
    _, (row,) = replacement_rows([Replacement("Paris", -1.0, "\nand", 0.0)], "Lyon")
    assert row.plain.endswith("⏎and")


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
def test_replacement_rows_align_hostile_words(words: str) -> None:
    found = (*FOUND, Replacement(words, -1.0, words, None))
    _, rows = replacement_rows(found, "Lyon")
    assert safe("".join(row.plain for row in rows))
    assert len({cell_len(row.plain[: row.plain.index("%")]) for row in rows}) == 1
