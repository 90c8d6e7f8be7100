"""Undo: word by word, and nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events

from lmtui.tui.editor.word_history import begins_word
from tests.examples import examples
from tests.tui.editing import Editing, editing
from tests.tui.texts import texts


def undone(page: Editing) -> list[str]:
    """The text after each undo."""
    found = []
    while page.editor.history.undo_stack:
        page.editor.undo()
        found.append(page.editor.text)
    return found


async def write(page: Editing, text: str) -> None:
    """Type a text, also what no key is named for."""
    for character in text:
        page.editor.post_message(events.Key("x", character))
    await page.pilot.pause()


async def test_typed_sentence_is_undone_word_by_word() -> None:
    async with editing() as page:
        await write(page, "Don't go, my_friend (now).")
        assert undone(page) == [
            "Don't go, my_friend (",
            "Don't go, my_friend ",
            "Don't go, ",
            "Don't ",
            "",
        ]


async def test_deleted_words_come_back_word_by_word() -> None:
    text = "one two, six"
    async with editing(text, len(text)) as page:
        await page.press(*["backspace"] * len(text))
        assert undone(page) == ["one ", "one two, ", text]
        page.editor.go_to(0)
        await page.press(*["delete"] * len(text))
        assert undone(page) == ["six", "two, six", text]


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        (("a", "backspace", "b"), ["", "a", ""]),
        (("a", "enter", "b"), ["a\n", "a", ""]),
        (("a", "b", "left", "c"), ["ab", ""]),
        (("a", "b", "home", "shift+end", "c", "d"), ["ab", ""]),
        (("a", "tab", "b"), ["a   ", "a", ""]),
    ],
)
async def test_other_keys_end_a_step(keys: tuple[str, ...], steps: list[str]) -> None:
    async with editing() as page:
        await page.press(*keys)
        assert undone(page) == steps


async def test_pause_ends_a_step() -> None:
    async with editing() as page:
        assert page.editor.history.checkpoint_timer <= 1  # seconds
        page.editor.history.checkpoint_timer = -1.0  # any time is a pause
        await page.press("a", "b")
        assert undone(page) == ["a", ""]


async def test_edit_after_undo_begins_a_step() -> None:
    async with editing("abc") as page:
        await page.press("delete", "delete", "ctrl+z")
        assert page.editor.text == "abc"
        await page.press("x", "ctrl+z", "x", "y")
        assert undone(page) == ["abc"]
        page.editor.go_to(0)
        await page.press("delete", "right", "delete", "ctrl+z", "delete")
        assert undone(page) == ["bc", "abc"]


def differ_by_a_word(before: str, after: str) -> bool:
    """Whether one text is the other with at most a word in place of another."""
    starts = _common(before, after)
    ends = _common(before[::-1], after[::-1])
    shorter = min(len(before), len(after))
    return any(
        len(before[start : len(before) - end].split()) <= 1
        and len(after[start : len(after) - end].split()) <= 1
        for start in range(starts + 1)
        for end in [min(ends, shorter - start)]
    )


def _common(first: str, second: str) -> int:
    """How many characters both texts begin with."""
    pairs = zip(first, second, strict=False)
    return next(
        (n for n, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second))
    )


KEYS = (
    "a", "b", "space", "full_stop", "enter", "backspace", "delete", "left", "right",
    "ctrl+w", "home", "end", "up", "tab", "ctrl+z", "ctrl+y",
)  # fmt: skip


@settings(max_examples=examples(10, full=100))
@given(texts(8), st.lists(st.sampled_from(KEYS), max_size=20), st.data())
async def test_undo_restores_the_first_text_in_steps_of_a_word(
    text: str, keys: list[str], data: st.DataObject
) -> None:
    async with editing(text, data.draw(st.integers(0, len(text)))) as page:
        await page.press(*keys)
        last = page.editor.text
        steps = undone(page)
        assert ([last, *steps])[-1] == text
        for before, after in zip([last, *steps], steps, strict=False):
            assert differ_by_a_word(before, after)
        while page.editor.history.redo_stack:
            page.editor.redo()
        if "ctrl+z" not in keys:
            assert page.editor.text == last


@given(st.text(" ab.漢'", max_size=20))
def test_words_begin_where_a_space_or_a_sign_ends(text: str) -> None:
    pieces = [""]
    for before, character in zip(" " + text, text, strict=False):
        if begins_word(before, character):
            pieces.append("")
        pieces[-1] += character
    assert "".join(pieces) == text
    assert all(len(piece.split()) <= 1 for piece in pieces)
