"""The find bar: what it posts is all that happens, and it always says where it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from textual import on
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from lmtui.editing.find import Span, replaced
from lmtui.tui.widgets.find_bar import NOTHING, FindBar
from tests.tui.hosts import HOSTILE, Host, safe, until

TEXT = "one two one\nOne twone"


class Editor(Host):
    """Does to a text what the bar asks for, as an editor would."""

    def __init__(self, text: str) -> None:
        super().__init__(FindBar(replace_spans=self._put))
        self.content, self.cursor = text, 0
        self.steps = 0

    @property
    def bar(self) -> FindBar:
        """The bar."""
        assert isinstance(self.widget, FindBar)
        return self.widget

    @on(FindBar.MatchSelected)
    def go(self, event: FindBar.MatchSelected) -> None:
        self.cursor = event.end
        self.bar.update(self.content, self.cursor)

    def _put(self, spans: Sequence[Span], texts: Sequence[str]) -> str:
        self.steps += 1
        self.content = replaced(self.content, spans, texts)
        self.cursor = spans[0][0] + len(texts[0])
        self.call_later(self.bar.update, self.content, self.cursor)
        return self.content


@asynccontextmanager
async def searching(text: str, words: str) -> AsyncIterator[tuple[Editor, Pilot[None]]]:
    """An editor in which these words were typed into the bar."""
    editor = Editor(text)
    async with editor.run_test(size=(80, 24), message_hook=editor.hook) as pilot:
        editor.bar.open(editor.content, editor.cursor)
        await pilot.pause()
        await pilot.press(*words)
        yield editor, pilot


async def test_find_bar_searches_with_every_letter_from_where_it_opened() -> None:
    async with searching(TEXT, "t") as (editor, pilot):
        assert editor.cursor == 5 and "1 of 2" in editor.text()
        await pilot.press("backspace", "o", "n")
        assert editor.cursor == 2 and "1 of 4" in editor.text()
        await pilot.press("x")
        assert NOTHING in editor.text()
        await pilot.press("backspace", "e", "enter")
        assert editor.cursor == 11 and "2 of 4" in editor.text()


async def test_find_bar_wraps_around_at_both_ends_and_says_so() -> None:
    async with searching(TEXT, "one") as (editor, pilot):
        seen = []
        for key in ("enter", "alt+n", "alt+n", "alt+n", "alt+p", "alt+p"):
            await pilot.press(key)
            seen.append(editor.cursor)
        assert seen == [11, 15, 21, 3, 21, 15]
        await pilot.press("alt+n", "alt+n")
        assert "1 of 4 from the top" in editor.text()


async def test_find_bar_replaces_one_match_and_goes_to_the_next() -> None:
    async with searching(TEXT, "one") as (editor, pilot):
        await pilot.press("tab", *"none", "enter", "enter")
        assert editor.content == "none two none\nOne twone"
        assert editor.content[: editor.cursor].endswith("\nOne")
        await pilot.press("alt+p", "alt+n", "enter", "enter")
        assert editor.content == "none two none\nnone twnone"
        assert editor.steps == 4


@pytest.mark.parametrize(("by", "steps"), [("a", 0), ("", 3), ("aa", 3), ("xa", 3)])
async def test_adjacent_matches_are_replaced_one_after_the_other(
    by: str, steps: int
) -> None:
    async with searching("aaab", "a") as (editor, pilot):
        await pilot.press("tab", *by, "enter", "enter", "enter")
        assert editor.content == by * 3 + "b"
        assert editor.steps == steps


async def test_find_bar_replaces_all_in_one_step() -> None:
    async with searching(TEXT, "one") as (editor, pilot):
        await pilot.press("tab", "1")
        editor.post_message(Key("alt+a", "a"))  # as a terminal sends it
        await pilot.pause()
        assert editor.content == "1 two 1\n1 tw1"
        assert editor.steps == 1
        assert "4 replaced" in editor.text()
        await pilot.press("alt+a")
        assert editor.steps == 1


async def test_find_bar_opened_with_a_selection_starts_at_its_match() -> None:
    editor = Editor("a.b axb a.b")
    async with editor.run_test(size=(80, 24)) as pilot:
        editor.cursor = 3
        editor.bar.open(editor.content, editor.cursor, "a.b")
        await pilot.pause()
        assert editor.cursor == 3 and "1 of 2" in editor.text()
        await pilot.press("enter")
        assert editor.cursor == 11
        await pilot.press("alt+r", "escape")
        editor.bar.open(editor.content, 0, "a.b")  # literal also in an expression
        await until(pilot, lambda: "1 of 2" in editor.text())


async def test_find_bar_follows_an_edit_of_the_text_until_escape() -> None:
    async with searching(TEXT, "one") as (editor, pilot):
        editor.content = "a one"
        editor.bar.update(editor.content, 1)
        await pilot.pause()
        assert "1 found" in editor.text()
        await pilot.press("enter")
        assert editor.cursor == 5
        await pilot.press("escape")
        assert isinstance(editor.posted[-1], FindBar.FindBarClosed)
        assert not editor.bar.is_open
        assert editor.text().strip() == ""


async def test_find_bar_draws_hostile_words_safely() -> None:
    editor = Editor("")
    async with editor.run_test(size=(80, 24)) as pilot:
        for name, words in HOSTILE.items():
            editor.bar.open(words + "\t" + words, 0, words + "\t")
            await pilot.pause()
            assert safe(editor.text()), name


# Options.


async def test_options_are_switched_by_keys_and_shown() -> None:
    async with searching("self Self selfish a.b axb", "self") as (editor, pilot):
        assert "1 of 3" in editor.text()
        assert "case: smart (ignored)" in editor.text()
        await pilot.press("alt+c")
        assert "1 of 2" in editor.text() and "case: exact (matters)" in editor.text()
        await pilot.press("alt+w")
        assert "1 of 1" in editor.text() and "words: whole only" in editor.text()
        await pilot.press("alt+c", "alt+w", "ctrl+u", *"Se")
        assert "case: smart (matters)" in editor.text() and "1 of 1" in editor.text()
        await pilot.press("ctrl+u", *"a.b", "alt+r")
        await until(pilot, lambda: "1 of 2" in editor.text())
        assert "regex: on" in editor.text()


async def test_regular_expression_is_checked_while_it_is_typed() -> None:
    async with searching(TEXT, "") as (editor, pilot):
        await pilot.press("alt+r", "(", "o")
        await until(pilot, lambda: "Not valid: missing )" in editor.text())
        await pilot.press("n", ")", "e")
        await until(pilot, lambda: "1 of 4" in editor.text())
        assert "Not valid" not in editor.text()
        await pilot.press("tab", "\\", "2")
        assert "there is no such group" in editor.text()
        await pilot.press("enter", "alt+a")
        assert "Replacement not valid" in editor.text()
        assert editor.content == TEXT


async def test_groups_of_the_match_are_replaced_one_and_all() -> None:
    async with searching("ab cd ef", r"(\w)(\w)") as (editor, pilot):
        await pilot.press("alt+r", "tab", *r"\2\1", "enter")
        await until(pilot, lambda: editor.content == "ba cd ef")
        await pilot.press("alt+a")
        await until(pilot, lambda: editor.content == "ab dc fe")
        assert editor.steps == 2


async def test_keys_that_come_at_once_replace_one_match_each() -> None:
    async with searching("ab cd ef gh", r"\w\w") as (editor, pilot):
        await pilot.press("alt+r", "tab", *r"\g<0>!")
        for _ in range(3):
            editor.post_message(Key("enter", None))
        await until(pilot, lambda: editor.content == "ab! cd! ef! gh")


@pytest.mark.parametrize(
    ("pattern", "once", "twice"),
    [("^", "> a\nb", "> a\n> b"), ("$", "a> \nb", "a> \nb> ")],
)
async def test_empty_matches_are_replaced_one_after_the_other(
    pattern: str, once: str, twice: str
) -> None:
    async with searching("a\nb", pattern) as (editor, pilot):
        await pilot.press("alt+r", "tab", *"> ")
        await until(pilot, lambda: "1 of 2" in editor.text())
        await pilot.press("enter")
        await until(pilot, lambda: editor.content == once)
        await pilot.press("enter")
        await until(pilot, lambda: editor.content == twice)


async def test_runaway_regular_expression_leaves_the_keys_alive() -> None:
    async with searching("a\n" + "a" * 60 + "b", "") as (editor, pilot):
        await pilot.press("alt+r", *"(a|aa)+$")
        await until(pilot, lambda: "later matches are missing" in editor.text())
        assert "1 of 1" in editor.text()
        await pilot.press("backspace", "b")
        await until(pilot, lambda: "are missing" not in editor.text())
        assert "1 of 1" in editor.text() and editor.cursor == 63


async def test_up_and_down_recall_earlier_searches() -> None:
    async with searching(TEXT, "one") as (editor, pilot):
        await pilot.press("enter", "ctrl+u", *"two", "enter", "ctrl+u", *"dra")
        field = editor.bar.query_one("#words", Input)
        seen = []
        for key in ("up", "up", "up", "down", "down"):
            await pilot.press(key)
            seen.append(field.value)
        assert seen == ["two", "one", "one", "two", "dra"]
        await pilot.press("up", "up")
        assert "2 of 4" in editor.text()
