"""Enter and Tab: what they write, and that each is one undo step."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events

from lmtui.tui.editor.text_area import GhostEditor
from tests.examples import examples
from tests.tui.editing import Editing, editing
from tests.tui.texts import texts


def now(page: Editing) -> str:
    """The text with `|` at the cursor, and at the other end of a selection."""
    editor = page.editor
    low, high = editor.selection_indexes
    ends = sorted({low, high}, reverse=True)
    text = editor.text
    for index in ends:
        text = f"{text[:index]}|{text[index:]}"
    return text


def put(page: Editing, marked: str, language: str | None = None) -> None:
    """Load a text, with the cursor at its `|`, or a selection between two."""
    before, *others = marked.split("|")
    page.editor.load(marked.replace("|", ""), language)
    page.editor.go_to(len(before), len("".join((before, *others[:-1]))))


KEYS = [
    ("enter", "python", "x = 'a:|b|'", "x = 'a:\n|'"),
    ("enter", "markdown", "- one|", "- one\n- |"),
    ("enter", "markdown", "- one\n- |", "- one\n|"),
    ("enter", None, "\tone| two|", "\tone\n\t|"),
    ("enter", "python", "a\n    |", "a\n\n    |"),
    ("tab", None, "a|b", "a   |b"),
    ("tab", None, "a漢|b", "a漢 |b"),
    ("tab", None, "|a b| c", " | c"),
    ("tab", None, "x\n\ta\n|b", "x\n\ta\n\t|b"),
]


@pytest.mark.parametrize("key", dict.fromkeys(key for key, *_ in KEYS))
async def test_each_key_is_one_undo_step(key: str) -> None:
    async with editing() as page:
        for language, before, after in (
            case for pressed, *case in KEYS if pressed == key
        ):
            put(page, before, language)
            await page.press(key)
            assert now(page) == after and page.editor.has_focus
            for undo, text in (("ctrl+z", before), ("ctrl+y", after)):
                await page.press(undo)
                assert now(page) == text


async def test_letters_typed_around_enter_are_undone_without_it() -> None:
    async with editing("    a", 5) as page:
        await page.press("b", "enter", "c")
        assert page.editor.text == "    ab\n    c"
        for text in ("    ab\n    ", "    ab", "    a"):
            await page.press("ctrl+z")
            assert page.editor.text == text


async def test_enter_shortens_ghost_text_that_begins_with_the_same_line() -> None:
    async with editing("    x = 0", 9, language="python") as page:
        assert await page.suggest("\n    return 1")
        await page.press("enter")
        assert page.editor.ghost == "return 1"


async def test_pasted_text_and_ghost_text_are_not_indented() -> None:
    async with editing("    if x:", 9, language="python") as page:
        page.editor.post_message(events.Paste("\na\nb"))
        await page.pilot.pause()
        assert page.editor.text == "    if x:\na\nb"
        assert await page.suggest("\nc\nd")
        await page.press("tab")
        assert page.editor.text == "    if x:\na\nb\nc\nd"


@settings(max_examples=examples(8, full=100))
@given(texts(12), st.data())
async def test_enter_and_tab_are_undone_and_redone(
    text: str, data: st.DataObject
) -> None:
    async with editing(text, language="python") as page:
        ends = [data.draw(st.integers(0, len(text))) for _ in range(2)]
        page.editor.go_to(*ends)
        await page.press(
            *data.draw(st.lists(st.sampled_from(("tab", "enter")), max_size=6))
        )
        after = now(page)
        while page.editor.history.undo_stack:
            page.editor.undo()
        assert page.editor.text == text
        while page.editor.history.redo_stack:
            page.editor.redo()
        assert now(page) == after


async def test_edit_of_lines_posts_one_message() -> None:
    async with editing("    if x:", 9, language="python") as page:
        await page.press("enter")
        posted = page.posted(GhostEditor.Edited, GhostEditor.CursorMoved)
        assert posted == [GhostEditor.Edited(False)]


async def test_text_that_is_only_read_does_not_change() -> None:
    async with editing("    a", 2) as page:
        page.editor.read_only = True
        await page.press("enter", "backspace", "tab")
        assert page.editor.text == "    a"
