"""What is drawn, joined, is the text: at every width, with and without a scrollbar.

All terminals agree on how many cells it takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import isawaitable

from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widget import Widget

from lmtui.tui.chat.message import Entry
from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.chat.transcript import Transcript
from lmtui.tui.editor.text_area import GhostEditor
from lmtui.tui.widgets.token_cursor import TokenText
from lmtui.tui.widgets.token_view import TokenView
from tests.tui.hosts import Host, resized
from tests.tui.widgets.test_token_view import tokens

NARROW = (
    "a", "word", "end.", "é", "e\u0301", " ", "  ", "ש", "ع", "\u200b", "\u200c",
    "\u202e", "\u2066", "\xad", "\ufeff", "\u2060", "\x1b", "\x07", "\x7f", "\x9b",
    "\u2764\ufe0f", "\u270c\ufe0f", "1\ufe0f\u20e3", "🇩🇪", "🇩🇪🇫🇷", "🇩", "می\u200cشود",
)  # fmt: skip
WIDE = (
    "漢字", "かな", "한국", "👍", "👍🏽", "👨‍👩‍👧‍👦", "👩🏽‍🚀", "👩‍❤️‍👨", "\u200d",
    "⌚\ufe0f", "漢\ufe00", "🏽", "🕵️‍♂️", "🏴\U000e0067\U000e0062\U000e007f",
)  # fmt: skip
WHITE = ("\t", "\n")
SIGNS = re.compile("[␀-␡‿¦˖□░▒▓█Ⓐ-Ⓩ\ufffd]")
"""Stand for one character each."""
CODE = re.compile("⟨U\\+([0-9A-F]+)⟩")
UNEVEN = re.compile("[\u200b-\u200d\ufe00-\ufe0f\u270c\U0001f1e6-\U0001f1ff🏻-🏿]")
"""What terminals take for one cell, for two or for none."""


@st.composite
def cases(draw: st.DrawFn, *, least: int) -> list[tuple[int, list[str]]]:
    """Widths, and pieces of a text for each, of a few rows or of more than fit; no
    wide ones where there is no room."""
    found = []
    widths = st.integers(least, 12) | st.integers(least, 120)
    for width in draw(st.lists(widths, min_size=1, max_size=4)):
        pieces = NARROW + WHITE + (WIDE if width > least else ())
        text = draw(st.lists(st.sampled_from(pieces), min_size=1, max_size=20))
        cells = sum(map(len, text)) if draw(st.booleans()) else 13 * width
        found.append((width, [*text * -(-13 * width // cells), "z"]))
    return found


def assert_kept(shown: str, text: str) -> None:
    """What is shown is the text, but for white space."""
    shown = CODE.sub(lambda code: chr(int(code[1], 16)), shown)
    if "·" not in text:  # then it is a space at the beginning of a row that goes on
        shown = shown.replace("·", " ")
    shown = "".join(shown.replace("⏎", "").replace("→", "").replace("◌", "").split())
    text = re.sub("[ \t\n]", "", text)
    same = len(shown) == len(text) and all(
        a == b or SIGNS.fullmatch(a) for a, b in zip(shown, text, strict=True)
    )
    assert same, (shown, text)


async def rows_of(
    app: Host, pilot: Pilot[None], widget: Widget, left: int
) -> list[str]:
    """All rows of a widget as they stand on the screen, but for so many cells on the
    left, scrolled through from the top; none is covered by a scrollbar."""
    rows: dict[int, str] = {}
    area = widget.scrollable_content_region
    widget.scroll_home(animate=False, force=True, immediate=True)
    while len(rows) < widget.virtual_size.height:
        widget.scroll_to(y=len(rows), animate=False, force=True, immediate=True)
        await pilot.pause()
        screen = app.strips()
        assert all(strip.cell_length == app.size.width for strip in screen)
        assert not any(UNEVEN.search(strip.text) for strip in screen)
        top, seen = widget.scroll_offset.y, len(rows)
        for y, strip in enumerate(screen[area.y : area.bottom]):
            rows[top + y] = strip.crop(area.x + left, area.right).text
        assert len(rows) > seen
    return [rows[y].rstrip() for y in range(widget.virtual_size.height)]


async def check(
    widget: Widget,
    found: list[tuple[int, list[str]]],
    *,
    show: Callable[[list[str]], object],
    drawn: Callable[[], Widget],
    low: int = 9,
    left: int = 0,
    press: str = "",
) -> None:
    """Show each text at its width, in a low and in a high terminal."""
    app = Host(widget)
    async with app.run_test(size=(80, 24)) as pilot:
        widget.focus()
        await pilot.press(*press)
        for width, pieces in found:
            for height in (low, 150):
                await resized(pilot, width, height)
                for text in (["z"], pieces):  # without a scrollbar, then perhaps with
                    if isawaitable(done := show(text)):
                        await done
                    await pilot.pause()
                rows = await rows_of(app, pilot, drawn(), left)
                assert_kept("".join(rows), "".join(pieces))


FEW = settings(max_examples=3, deadline=None)


@FEW
@given(cases(least=2))
async def test_token_view_draws_its_whole_text_at_every_width(
    found: list[tuple[int, list[str]]],
) -> None:
    view = TokenView()
    await check(
        view,
        found,
        show=lambda pieces: view.show(tokens(*pieces)),
        drawn=lambda: view.query_one(TokenText),
    )


@FEW
@given(cases(least=2))
async def test_token_view_draws_visible_spaces_at_every_width(
    found: list[tuple[int, list[str]]],
) -> None:
    view = TokenView()
    await check(
        view,
        [(width, [p.replace(" ", "·") for p in pieces]) for width, pieces in found],
        show=lambda pieces: view.show(tokens(*"".join(pieces).replace("·", " "))),
        drawn=lambda: view.query_one(TokenText),
        press="full_stop",
    )


@FEW
@given(cases(least=8), st.sampled_from(["user", "assistant"]))
async def test_transcript_draws_its_whole_text_at_every_width(
    found: list[tuple[int, list[str]]], role: str
) -> None:
    transcript = Transcript("nothing")
    await check(
        transcript,
        found,
        show=lambda pieces: transcript.show(
            [Entry("1", role, "".join(pieces), writer="")]
        ),
        drawn=lambda: transcript,
        left=2,  # the bar of the message
    )


@FEW
@given(cases(least=8))
async def test_prompt_draws_its_whole_text_at_every_width(
    found: list[tuple[int, list[str]]],
) -> None:
    prompt = PromptField()
    await check(
        prompt,
        found,
        show=lambda pieces: prompt.load_text("".join(pieces)),
        drawn=lambda: prompt,
        low=14,  # as high as it gets
    )


@FEW
@given(cases(least=3))
async def test_editor_draws_its_whole_text_at_every_width(
    found: list[tuple[int, list[str]]],
) -> None:
    editor = GhostEditor()
    editor.show_line_numbers = False
    await check(
        editor,
        found,
        show=lambda pieces: editor.load("".join(pieces)),
        drawn=lambda: editor,
    )
