"""Replacements: asked for, shown with their numbers, and chosen."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.widgets import Static

from lmtui.engine.document.types import Replacement, ReplacementList
from lmtui.errors import LmtuiError
from lmtui.notation import LN2
from lmtui.tui.editor.pickers import (
    ASKING,
    NOTHING,
    ReplacementsScreen,
    replacement_rows,
)
from tests.fake_writing import FakeWriter
from tests.tui.editor.writer import writing
from tests.tui.hosts import HOSTILE, Host, safe

FOUND = (
    Replacement("Paris", -2 * LN2, ", and it is", -20 * LN2),
    Replacement("Lyon", -5.5 * LN2, " is known", -21.25 * LN2),
    Replacement("the", -12 * LN2, " most", -31 * LN2),
)
COMPLETE = ReplacementList(FOUND, 3, 3)
LAST = ("  22.0  ", "  26.8  ", "  43.0  ", "  12.2  ")
"""The sums of these, and of a fourth one of 12.2 bits."""


class Chooser(Host):
    """Offers replacements, and keeps the answer."""

    def __init__(self) -> None:
        super().__init__(Static())
        self.asked = ReplacementsScreen("Lyon")
        self.answers: list[Replacement | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.asked, self.answers.append)


@pytest.mark.parametrize("size", [(80, 24), (40, 16)])
async def test_replacements_screen_waits_and_then_shows_the_list(
    size: tuple[int, int],
) -> None:
    app = Chooser()
    async with app.run_test(size=size) as pilot:
        assert "In place of “Lyon”" in app.text() and ASKING in app.text()
        await pilot.press("enter")
        assert app.answers == []
        app.asked.show(COMPLETE)
        await pilot.pause()
        assert ASKING not in app.text()
        first = next(i for i, line in enumerate(app.lines()) if "Paris" in line)
        rows = app.lines()[first - 1 : first + 3]
        assert ["●" in row for row in rows] == [False, False, True, False]
        if size[0] >= 80:
            assert rows[0].split()[1:4] == ["word", "follows", "sum"]
            assert rows[1].split()[2:5] == ["2.0", "20.0", "22.0"]
            assert rows[2].split()[3:6] == ["5.5", "21.2", "26.8"]
        await pilot.press("down", "down", "enter")
        assert app.answers == [FOUND[2]]


async def test_arrow_keys_before_the_list_arrives_are_remembered() -> None:
    app = Chooser()
    async with app.run_test(size=(80, 24)) as pilot:
        assert "Enter works once the words are there" in app.text()
        await pilot.press("down", "down", "up", "enter")
        assert app.answers == []
        app.asked.show(COMPLETE)
        await pilot.press("enter")
        assert app.answers == [FOUND[1]]


async def test_replacements_found_before_the_screen_opens_are_shown() -> None:
    app = Chooser()
    app.asked.show(COMPLETE)
    async with app.run_test(size=(80, 24)) as pilot:
        assert "Paris" in app.text() and "22.0" in app.text()
        await pilot.press("escape")
        assert app.answers == [None]


async def test_mark_stays_on_its_word_while_the_list_grows() -> None:
    app = Chooser()
    async with app.run_test(size=(80, 24)) as pilot:
        app.asked.show(ReplacementList((FOUND[1], FOUND[2]), 1, 3))
        await pilot.pause()
        assert f"{ASKING} 33.3% · Enter" in app.text()
        await pilot.press("down")
        app.asked.show(ReplacementList(FOUND, 2, 3))
        await pilot.pause()
        assert "Paris" in app.text() and f"{ASKING} 66.7% · Enter" in app.text()
        app.asked.show(COMPLETE)
        await pilot.pause()
        assert ASKING not in app.text()
        await pilot.press("enter")
        assert app.answers == [FOUND[2]]


async def test_replacements_screen_tells_an_empty_list_and_an_error() -> None:
    app = Chooser()
    async with app.run_test(size=(80, 24)) as pilot:
        app.asked.show(ReplacementList((), 1, 1))
        await pilot.pause()
        assert NOTHING in app.text()
        app.asked.show_error(LmtuiError("no [model]", "a\x1bb", "Load one."))
        await pilot.pause()
        assert "no [model]" in app.text() and "Load one." in app.text()
        assert safe(app.text())
        await pilot.press("enter", "escape")
        assert app.answers == [None]


def test_replacement_rows_draw_a_newline_as_a_sign() -> None:
    _, (row,) = replacement_rows([Replacement("Paris", -1.0, "\nand", -9.0)], "Lyon")
    assert row.plain.endswith("⏎and")


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
def test_replacement_rows_align_hostile_words(words: str) -> None:
    found = (*FOUND, Replacement(words, -11.2 * LN2, words, -LN2))
    _, rows = replacement_rows(found, "Lyon")
    assert safe("".join(row.plain for row in rows))
    ends = [row.plain.index(bits) for row, bits in zip(rows, LAST, strict=True)]
    cells = {cell_len(row.plain[:end]) for row, end in zip(rows, ends, strict=True)}
    assert len(cells) == 1


def test_row_without_what_follows_shows_no_sum_yet() -> None:
    early = Replacement("Paris", -2 * LN2, "", None, is_scored=False)
    last = Replacement("Paris", -2 * LN2, "", None)  # nothing follows
    _, (before, after) = replacement_rows([early, last], "Lyon")
    assert before.plain.split() == ["Paris", "2.0", "–", "–"]
    assert after.plain.split() == ["Paris", "2.0", "–", "2.0"]


@pytest.mark.parametrize(
    ("line", "size"), [(0, (120, 40)), (6, (80, 24)), (59, (80, 24))]
)
async def test_word_stays_in_sight_beside_the_list(
    tmp_path: Path, line: int, size: tuple[int, int]
) -> None:
    lines = [f"line {number} of the text\n" for number in range(60)]
    words = [Replacement(f"word{i}", -1.0, " on", -2.0) for i in range(12)]
    cursor = len("".join(lines[:line]))
    async with writing(
        tmp_path, FakeWriter(words=words), text="".join(lines), cursor=cursor, size=size
    ) as writer:
        await writer.expected()
        await writer.press("f7")
        await writer.running.on(ReplacementsScreen)
        await writer.until(lambda: "word4" in writer.seen)
        assert f"line {line} of the text" in writer.seen
