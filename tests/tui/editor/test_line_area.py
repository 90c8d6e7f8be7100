"""Keys for lines: what they write, and that each is one undo step."""

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
    ("enter", "python", "if x:|\n", "if x:\n    |\n"),
    ("enter", "python", "x = 1  # so:|", "x = 1  # so:\n|"),
    ("enter", "python", "x = 'a:|b|'", "x = 'a:\n|'"),
    ("enter", "markdown", "- one|", "- one\n- |"),
    ("enter", "markdown", "- one\n- |", "- one\n|"),
    ("enter", None, "\tone| two|", "\tone\n\t|"),
    # A closing bracket is as deep as the line of its partner.
    ("}", "javascript", "\tif (x) {\n\t\ta();\n\t\t|", "\tif (x) {\n\t\ta();\n\t}|"),
    ("}", "python", "x = {\n        1: '}',\n    |", "x = {\n        1: '}',\n}|"),
    ("}", "python", "x = {\n    1|", "x = {\n    1}|"),
    ("}", "python", "x = {}\n    |", "x = {}\n    }|"),
    ("}", "python", 'x = {"""\n    |"""', 'x = {"""\n    }|"""'),
    ("}", None, "x = {\n    |", "x = {\n    }|"),
    # In leading white space, to the stop before.
    ("backspace", None, "a\n    b\n        |", "a\n    b\n    |"),
    ("backspace", None, "a\n\tb\n\t\t|c", "a\n\tb\n\t|c"),
    ("backspace", None, "    a|b", "    |b"),
    ("backspace", None, "a\n|    b", "a|    b"),
    ("backspace", None, "|  |  a", "|  a"),
    ("tab", None, "a\n  b\n|c", "a\n  b\n  |c"),
    ("tab", None, "a\n  b\n|c\nd|", "a\n  b\n|  c\n  d|"),
    ("tab", None, "a|b", "a   |b"),
    ("tab", None, "\ta\n|b", "\ta\n\t|b"),
    ("tab", None, "|a\n\nb|\nc", "|    a\n\n    b|\nc"),
    ("shift+tab", None, "    a|b", "a|b"),
    ("shift+tab", None, "    a|\n      b|\n    c", "a|\n  b|\n    c"),
    ("alt+up", None, "one\nt|wo\n", "t|wo\none\n"),
    ("alt+down", None, "|one\ntwo|\nsix", "six\n|one\ntwo|"),
    ("alt+down", None, "one\nt|wo\n", "one\nt|wo\n"),
    ("alt+d", None, "on|e\ntwo", "one\non|e\ntwo"),
    ("alt+d", None, "one |two|", "one two|two|"),
    ("alt+j", None, "o|ne\n  two\n", "one| two\n"),
]


@pytest.mark.parametrize("key", dict.fromkeys(key for key, *_ in KEYS))
async def test_each_key_for_lines_is_one_undo_step(key: str) -> None:
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
    async with editing("if x:", 5, language="python") as page:
        assert await page.suggest("\n    return 1")
        await page.press("enter")
        assert page.editor.ghost == "return 1"
        page.editor.load("f()", "python")
        page.editor.go_to(2)
        assert await page.suggest("\n    \n)\nx")
        await page.press("enter")
        assert page.editor.text == "f(\n    \n)"
        assert page.editor.ghost == ""


async def test_pasted_text_and_ghost_text_are_not_indented() -> None:
    async with editing("    if x:", 9, language="python") as page:
        page.editor.post_message(events.Paste("\na\nb"))
        await page.pilot.pause()
        assert page.editor.text == "    if x:\na\nb"
        assert await page.suggest("\nc\nd")
        await page.press("tab")
        assert page.editor.text == "    if x:\na\nb\nc\nd"


@pytest.mark.parametrize("key", ["ctrl+slash", "ctrl+underscore"])
async def test_comment_key_is_its_own_opposite(key: str) -> None:
    async with editing() as page:
        before, after = "if x:\n    |one\n\n    two|", "if x:\n    |# one\n\n    # two|"
        put(page, before, "python")
        for text in (after, before, after):
            await page.press(key)
            assert now(page) == text
        for text in (before, after, before):
            await page.press("ctrl+z")
            assert now(page) == text


async def test_comment_key_leaves_a_file_without_comments_alone() -> None:
    async with editing("a", language="json") as page:
        await page.press("ctrl+underscore")
        assert page.editor.text == "a"
        assert not page.editor.history.undo_stack


@settings(max_examples=examples(8, full=100))
@given(texts(12), st.data())
async def test_any_keys_for_lines_are_undone_and_redone(
    text: str, data: st.DataObject
) -> None:
    keys = ("alt+up", "alt+down", "alt+d", "alt+j", "shift+tab", "ctrl+slash", "tab",
            "enter")  # fmt: skip
    async with editing(text, language="python") as page:
        ends = [data.draw(st.integers(0, len(text))) for _ in range(2)]
        page.editor.go_to(*ends)
        await page.press(*data.draw(st.lists(st.sampled_from(keys), max_size=6)))
        after = now(page)
        while page.editor.history.undo_stack:
            page.editor.undo()
        assert page.editor.text == text
        while page.editor.history.redo_stack:
            page.editor.redo()
        assert now(page) == after


def marked(page: Editing) -> list[tuple[int, int]]:
    """The cells on another background than the text's, which isn't the cursor's."""
    editor = page.editor
    cursor = editor.get_component_rich_style("text-area--cursor").bgcolor
    plain = (None, editor.rich_style.bgcolor, cursor)
    found = []
    for y in range(editor.size.height):
        x = 0
        for segment in editor.render_line(y):
            if segment.style and segment.style.bgcolor not in plain:
                found += [(y, x + n) for n in range(len(segment.text))]
            x += len(segment.text)
    return found


async def test_bracket_at_the_cursor_and_its_partner_are_marked() -> None:
    text = "f(')',\n  [1])\nend"
    async with editing(text, 1, language="python") as page:
        assert marked(page) == [(1, 5)]
        await page.press("right")
        assert marked(page) == [(0, 1), (1, 5)]
        await page.press("right")
        assert marked(page) == []
        page.editor.go_to(1)
        assert await page.suggest("\nx")
        assert marked(page) == [(0, 1), (1, 1), (2, 5)]  # the first is the cursor
        await page.press("escape", "x")
        assert marked(page) == [(1, 5)]
        page.editor.go_to(0, 2)
        assert marked(page) == [(0, 0), (0, 1)]  # the selection
        page.editor.load(text, "markdown")
        assert marked(page) == []
        page.editor.go_to(1)
        assert marked(page) == [(0, 3)]


async def test_bracket_key_goes_to_the_partner_and_back() -> None:
    async with editing("f(a[1])", 3) as page:
        for index in (5, 3, 5):
            await page.press("alt+m")
            assert page.editor.cursor_index == index
        await page.press("right", "right", "alt+m")
        assert page.editor.cursor_index == 1
        await page.press("home", "alt+m")
        assert page.editor.cursor_index == 0


async def test_edit_of_lines_posts_one_message() -> None:
    async with editing("    if x:", 9, language="python") as page:
        await page.press("enter")
        posted = page.posted(GhostEditor.Edited, GhostEditor.CursorMoved)
        assert posted == [GhostEditor.Edited(False)]


async def test_text_that_is_only_read_does_not_change() -> None:
    async with editing("    a", 2) as page:
        page.editor.read_only = True
        await page.press("enter", "backspace", "shift+tab", "tab")
        assert page.editor.text == "    a"
