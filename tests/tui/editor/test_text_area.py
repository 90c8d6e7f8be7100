"""The editor: its text, its ghost, its heat, and what it tells of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events

from lmtui.engine.document.types import ScoredSpan
from lmtui.engine.types import ScoredToken
from lmtui.notation import LN2
from lmtui.tui.editor.text_area import GhostEditor
from tests.tui.editing import editing
from tests.tui.hosts import HOSTILE, Host, drawn, safe
from tests.tui.texts import edits, texts

Edited, Moved = GhostEditor.Edited, GhostEditor.CursorMoved


# The text.


@settings(max_examples=10)
@given(texts(), st.data())
async def test_undo_and_redo_restore_the_text_after_any_edits(
    text: str, data: st.DataObject
) -> None:
    editor = GhostEditor()
    app = Host(editor)
    async with app.run_test(size=(20, 8)):
        editor.load(text)
        now = text
        assert editor.text == text
        for _ in range(3):
            start, end, put = data.draw(edits(now))
            editor.replace_span(start, end, put)
            now = now[:start] + put + now[end:]
            assert editor.text == now
            assert editor.characters == len(now)
        while editor.history.undo_stack:
            editor.undo()
        assert editor.text == text
        while editor.history.redo_stack:
            editor.redo()
        assert editor.text == now


async def test_wrapped_row_is_marked_in_the_gutter() -> None:
    async with editing("one two three four\nend", size=(14, 8)) as page:
        page.editor.show_line_numbers = True
        await page.pilot.pause()
        assert page.rows() == [
            "1  one two", "↳  three", "↳  four", "2  end",
        ]  # fmt: skip
        page.editor.go_to(len("one two three four"))
        assert await page.suggest("s\nnew")
        assert page.rows()[2:4] == ["↳  fours", "   new"]


async def test_wrapped_rows_of_code_are_indented_like_their_line() -> None:
    text = "    one two three\nend"
    async with editing(text, 4, language="python", size=(12, 8)) as page:
        assert page.rows() == ["    one", "    two", "    three", "end"]
        await page.press("down")
        assert page.editor.cursor_index == 8
        assert page.app.cursor_position == (4, 1)
        await page.press("up", "left", "down")
        assert page.editor.cursor_index == 8
        await page.pilot.click(GhostEditor, offset=(6, 2))
        assert page.editor.cursor_index == 14
        page.editor.go_to(12)
        assert await page.suggest("and more ")
        assert page.rows()[2:5] == ["    and", "    more", "    three"]


async def test_editor_posts_one_message_per_change() -> None:
    async with editing("one two", 7) as on:
        await on.press("!", "backspace", "left", "ctrl+z")
        edited, moved = Edited(ghost_stays=False), Moved()
        assert on.posted(Edited, Moved) == [edited, edited, moved, edited]


async def test_replaced_span_is_one_undo_step() -> None:
    async with editing("one two three", 13) as on:
        on.editor.replace_span(4, 7, "2")
        assert on.editor.text == "one 2 three"
        assert on.editor.cursor_index == 11
        await on.press("x", "ctrl+z")
        assert on.editor.text == "one 2 three"
        await on.press("ctrl+z")
        assert on.editor.text == "one two three"


async def test_go_to_moves_the_cursor_or_selects_a_span() -> None:
    async with editing("one\ntwo three\n") as on:
        on.editor.go_to(4, 7)
        assert on.editor.selection_indexes == (4, 7)
        assert on.editor.selected_text == "two"
        assert on.editor.cursor_index == 7
        on.editor.go_to(99)
        assert on.editor.cursor_index == 14
        assert on.editor.selection_indexes == (14, 14)


async def test_keys_reach_and_select_to_the_edges_of_the_text() -> None:
    ends = {
        "ctrl+end": (13, 13), "ctrl+home": (0, 0), "ctrl+shift+end": (0, 13),
        "right": (13, 13), "ctrl+shift+home": (0, 13), "down": (4, 4), "alt+a": (0, 13),
    }  # fmt: skip
    async with editing("one\ntwo\nthree", 5) as on:
        for key, selected in ends.items():
            await on.press(key)
            assert on.editor.selection_indexes == selected, key
            assert len(on.posted(Moved)) == 1, key


async def test_letter_with_alt_is_not_inserted() -> None:
    """A terminal sends the letter along, which a test's key press does not."""
    async with editing("") as on:
        for key in ("n", "p", "x"):
            on.editor.post_message(events.Key(f"alt+{key}", key))
        await on.press("a")
        assert on.editor.text == "a"
        assert on.posted(GhostEditor.AlternativeRequested) == [
            GhostEditor.AlternativeRequested(),
        ]


async def test_paste_is_one_undo_step_with_newlines_only() -> None:
    async with editing("ab", 1) as on:
        on.editor.post_message(events.Paste("1\r2\r\n3\ud800"))
        await on.pilot.pause()
        assert on.editor.text == "a1\n2\n3\ufffdb"
        assert on.posted(Edited) == [Edited(ghost_stays=False)]
        await on.press("ctrl+z")
        assert on.editor.text == "ab"


async def test_the_last_line_can_be_deleted() -> None:
    async with editing("one\ntwo", 5) as on:
        await on.press("ctrl+shift+k")
        assert on.editor.text == "one\n"


async def test_the_cursor_walks_by_whole_characters() -> None:
    walks = {"ab": [1, 2], "e\u0301x": [2, 3], "👨‍👩‍👧x": [5, 6], "a\tb": [1, 2, 3]}
    async with editing() as on:
        for text, stops in walks.items():
            on.editor.load(text)
            found = []
            for _ in stops:
                on.editor.action_cursor_right()
                found.append(on.editor.cursor_index)
            assert found == stops
            for stop in [*reversed(stops[:-1]), 0]:
                on.editor.action_cursor_left()
                assert on.editor.cursor_index == stop


async def test_editor_handles_keys_in_their_order() -> None:
    async with editing() as on:
        await on.pilot.press("a", "left", "b", "end", "c", "home", "tab", "d")
        assert on.editor.text == "    dbac"


# The ghost.


async def test_edited_message_tells_whether_the_ghost_stays() -> None:
    async with editing("Hello", 5) as on:
        assert await on.suggest(" world")
        await on.press("space", "w")
        assert on.editor.ghost == "orld"
        assert on.posted(Edited) == [Edited(ghost_stays=True)] * 2
        await on.press("e")
        assert on.editor.ghost == ""
        assert on.posted(Edited) == [Edited(ghost_stays=False)]
        await on.press("backspace")
        assert on.editor.ghost == "orld"
        assert on.posted(Edited) == [Edited(ghost_stays=True)]
        assert on.editor.text == "Hello w"


@pytest.mark.parametrize(
    ("key", "taken", "rest"),
    [
        ("tab", " my dear\nfriend", ""),
        ("ctrl+right", " my", " dear\nfriend"),
        ("alt+right", " my dear", "\nfriend"),
    ],
)
async def test_keys_take_a_ghost_whole_by_word_or_by_line(
    key: str, taken: str, rest: str
) -> None:
    async with editing("Hello!", 5) as on:
        await on.press("x", "backspace")
        await on.suggest(" my dear\nfriend")
        on.posted()
        await on.press(key)
        assert on.editor.text == f"Hello{taken}!"
        assert on.editor.ghost == rest
        assert on.posted(Edited) == [Edited(ghost_stays=bool(rest))]
        await on.press("ctrl+z")
        assert on.editor.text == "Hello!"
        assert on.editor.ghost == " my dear\nfriend"


async def test_every_part_taken_of_a_ghost_is_one_undo_step() -> None:
    async with editing("a", 1) as on:
        await on.suggest(" b c d")
        await on.press("ctrl+right", "ctrl+right", "ctrl+right")
        steps = []
        while on.editor.history.undo_stack:
            on.editor.undo()
            steps.append(on.editor.text)
        assert steps == ["a b c", "a b", "a"]


async def test_ghost_keys_without_a_ghost_move_the_cursor_or_request_one() -> None:
    async with editing("one two") as on:
        await on.press("ctrl+right")
        assert on.editor.cursor_index == 3
        await on.press("alt+right")
        assert on.editor.cursor_index == 3
        await on.press("alt+n", "ctrl+@")
        asked = on.posted(
            GhostEditor.AlternativeRequested, GhostEditor.SuggestionRequested
        )
        assert asked == [
            GhostEditor.AlternativeRequested(),
            GhostEditor.SuggestionRequested(),
        ]


async def test_escape_dismisses_the_ghost_or_goes_to_the_screen() -> None:
    async with editing("Hello", 5) as on:
        seen = []
        on.app.screen._bindings.bind("escape", "app.seen")
        on.app.action_seen = lambda: seen.append(1)  # type: ignore[attr-defined]
        await on.suggest(" world")
        await on.press("escape")
        assert on.editor.ghost == "" and not seen
        assert on.posted(GhostEditor.GhostDismissed)
        await on.press("x", "backspace")
        assert on.editor.ghost == ""
        await on.press("escape")
        assert seen and not on.posted(GhostEditor.GhostDismissed)


async def test_ghost_does_not_follow_the_cursor_nor_come_to_a_selection() -> None:
    async with editing("one\ntwo\nthree", 5) as on:
        for key in ("left", "right", "up", "home", "shift+left", "f7"):
            on.editor.go_to(5)
            await on.suggest("ghost")
            assert on.editor.ghost == "ghost"
            await on.press(key)
            assert on.editor.ghost == ""
            on.editor.go_to(5)
            assert on.editor.ghost == ""
        on.editor.go_to(0, 2)
        assert not await on.suggest("x")


async def test_ghost_is_shown_only_while_the_editor_has_focus() -> None:
    async with editing("one", 3) as on:
        await on.suggest("ghost")
        on.app.set_focus(None)
        await on.pilot.pause()
        assert on.editor.ghost == ""
        on.editor.focus()
        await on.pilot.pause()
        assert on.editor.ghost == "ghost"


async def test_tab_takes_only_the_visible_part_of_a_ghost() -> None:
    async with editing("", size=(20, 3)) as on:
        await on.suggest("1\n2\n3\n4\n5")
        assert on.editor.ghost == "1\n2\n3"
        await on.press("tab")
        assert on.editor.text == "1\n2\n3"
        assert on.editor.ghost == "\n4\n5"
        await on.press("tab")
        assert on.editor.text == "1\n2\n3\n4\n5"


async def test_ghost_is_scrolled_into_view() -> None:
    text = "\n".join(str(n) for n in range(20))
    async with editing(text, size=(20, 5)) as on:
        on.editor.go_to(len(text))
        await on.suggest(" a\nb\nc")
        assert on.rows()[-3:] == ["19 a", "b", "c"]
        on.editor.forget_ghosts()
        await on.pilot.pause()
        assert on.rows()[-1] == "19"


async def test_click_on_text_after_a_ghost_goes_there() -> None:
    async with editing("one two\nthree", 3) as on:
        await on.suggest(" and\na half")
        await on.pilot.click(GhostEditor, offset=(2, 2))
        assert on.editor.cursor_location == (1, 2)
        assert on.editor.ghost == ""


# Heat.


def tokens(text: str, *bits: float, start: int = 0) -> ScoredSpan:
    """Words from an offset, each with its space a token of so many bits."""
    spans, found = [], list[ScoredToken]()
    for word, count in zip(re.findall(r"\S+\s?", text[start:]), bits, strict=False):
        end = start + len(word)
        spans.append((start, end))
        token = ScoredToken(0, 0, word, word.encode(), -count * LN2, 1, 0.0)
        found.append(token)
        start = end
    return ScoredSpan(tuple(found), tuple(spans))


def looks(editor: GhostEditor, y: int = 0) -> dict[str, tuple[bool, bool, bool]]:
    """How each word of a row is drawn: underlined, tinted, dim."""
    ground = editor.rich_style.bgcolor
    return {
        segment.text.strip(): tuple(
            map(
                bool,
                (
                    segment.style.underline,
                    segment.style.bgcolor != ground,
                    segment.style.dim,
                ),
            )
        )
        for segment in editor.render_line(y)
        if segment.style and segment.text.strip()
    }


async def test_heat_shows_the_steps_of_surprise() -> None:
    text = "one two six ten"
    async with editing(text, len(text)) as on:
        on.editor.scored.put(tokens(text, 2, 4, 7, 11))
        assert looks(on.editor) == {text: (False, False, False)}
        on.editor.heat = True
        found = looks(on.editor)
        assert found["one"] == (False, False, False)
        assert found["two"] == (True, False, False)
        assert found["six"] == (True, True, False)
        assert found["ten"] == (True, True, False)
        on.editor.replace_span(7, 7, ",")
        assert looks(on.editor)["six"] == (True, True, True)
        assert "two" not in looks(on.editor)
        on.editor.scored.put(tokens(on.editor.text, 4, 4, start=4))
        assert looks(on.editor)["two,"] == (True, False, False)
        assert looks(on.editor)["six"] == (True, False, False)
        assert looks(on.editor)["ten"] == (True, True, True)


async def test_heat_moves_with_its_text() -> None:
    text = "one two six ten"
    async with editing(text) as on:
        on.editor.heat = True
        on.editor.scored.put(tokens(text, 0, 4, 0, 4))
        await on.press("x", "enter")
        assert looks(on.editor, 1)["two"] == (True, False, True)
        on.editor.go_to(8)
        await on.press("x")
        assert "two" not in looks(on.editor, 1)
        assert looks(on.editor, 1)["ten"] == (True, False, True)


async def test_heat_map_shows_a_bar_of_bits_beside_every_line() -> None:
    text = "one\ntwo\nsix\n"
    async with editing(text, 12) as on:
        on.editor.show_line_numbers = True
        on.editor.scored.put(tokens(text, 8, 2, 0))
        on.editor.heat = True
        await on.pilot.pause()
        assert on.rows() == ["1█ one", "2▃ two", "3▁ six", "4"]
        on.editor.heat = False
        await on.pilot.pause()
        assert on.rows() == ["1  one", "2  two", "3  six", "4"]


async def test_heat_is_drawn_while_the_text_has_fewer_rows_than_were_scrolled() -> None:
    text = "one two three four five six seven eight nine ten"
    async with editing(text, len(text), size=(12, 4)) as on:
        on.editor.scored.put(tokens(text, *[9] * 10))
        on.editor.heat = True
        await on.pilot.pause()
        scrolled = on.editor.scroll_offset.y
        # A dialog draws the editor behind it between its new width and its layout.
        on.editor.wrapped_document.wrap(100, tab_width=4)
        assert on.editor.wrapped_document.height == 1 < scrolled
        assert on.editor.visible_lines == (0, 0)
        drawn(on.app.screen)


# Hostile texts.


@pytest.mark.parametrize("wrap", [True, False])
async def test_hostile_text_and_ghost_are_drawn_safely(wrap: bool) -> None:
    async with editing() as on:
        on.editor.soft_wrap = wrap
        for hostile in HOSTILE.values():
            on.editor.load(hostile)
            await on.suggest(hostile)
            assert on.editor.text == hostile
            await on.press("end", "x")
            assert all(safe(line) for line in on.app.lines())
            for y in range(on.editor.size.height):
                assert on.editor.render_line(y).cell_length == on.editor.size.width
            assert "\u0301" * 5 not in on.app.text()


async def test_unwrapped_long_line_scrolls_to_the_cursor() -> None:
    async with editing("漢" * 100 + "end", size=(20, 4)) as on:
        on.editor.soft_wrap = False
        await on.press("end")
        assert on.rows()[0].endswith("end")
        await on.press("home")
        assert on.rows()[0].startswith("漢漢")
