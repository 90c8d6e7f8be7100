"""The token view: layout by cells, a cursor that walks, sums that end in Σ log P."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import (
    ScoredToken,
    Step,
)
from lmtui.text import bytes_text
from lmtui.tui.widgets.token_cursor import TokenText
from lmtui.tui.widgets.token_lines import pieces_of, wrap
from lmtui.tui.widgets.token_view import RunningSums, TokenDetail, TokenView
from tests.fakes import FakeEngine
from tests.tui.hosts import HOSTILE, Host, hosted, resized, safe


def tokens(*texts: str | bytes, logprob: float | None = -1.0) -> list[ScoredToken]:
    data = [t if isinstance(t, bytes) else t.encode(errors="replace") for t in texts]
    return [
        ScoredToken(index, index, bytes_text(b), b, logprob, 3, 1.0)
        for index, b in enumerate(data)
    ]


PIECES = st.lists(st.text(max_size=12) | st.binary(max_size=4), max_size=30)


@given(PIECES, st.integers(2, 40))
def test_token_layout_loses_nothing_and_fits_the_width(
    texts: list[str | bytes], width: int
) -> None:
    pieces = list(pieces_of(tokens(*texts)))
    assert sum(piece.count for piece in pieces) == len(texts)
    assert [p.first for p in pieces] == sorted({p.first for p in pieces})
    lines = list(wrap(pieces, width))
    drawn = ["" for _ in pieces]
    for line in lines:
        assert sum(run.width for run in line) <= width
        for run in line:
            assert "\n" not in run.text and run.width == cell_len(run.text)
            drawn[run.piece] += run.text
    texts = [piece.text.replace("\n", "") for piece in pieces]
    assert [each.replace("·", " ") for each in drawn] == [
        each.replace("·", " ") for each in texts
    ]
    assert all(map(safe, drawn))
    assert all(drawn)


def test_tokens_of_one_character_are_drawn_together() -> None:
    cat = "🐈".encode()
    pieces = list(pieces_of(tokens("a", cat[:1], cat[1:3], cat[3:], "b", cat[:1])))
    assert [(p.first, p.count, p.text) for p in pieces] == [
        (0, 1, "a"), (1, 3, "🐈"), (4, 1, "b"), (5, 1, "⟨F0⟩"),
    ]  # fmt: skip


def test_token_newlines_are_drawn_and_break_the_line() -> None:
    lines = list(wrap(pieces_of(tokens("a\n\nb")), 10))
    assert [[run.text for run in line] for line in lines] == [["a⏎"], ["⏎"], ["b"]]


def test_wrapped_row_shows_its_leading_space() -> None:
    lines = list(wrap(pieces_of(tokens("one", " two", " three", "\n", " four")), 7))
    assert ["".join(run.text for run in line) for line in lines] == [
        "one two", "·three⏎", " four",
    ]  # fmt: skip


@given(st.integers(1, 5000), st.none() | st.integers(0, 5000), st.data())
def test_running_sums_add_log_probs_up_to_a_token(
    count: int, missing: int | None, data: st.DataObject
) -> None:
    shown = tokens(*["a"] * count)
    if missing is not None and missing < count:
        shown[missing] = replace(shown[missing], logprob=None)
    sums = RunningSums(shown)
    for place in data.draw(st.lists(st.integers(0, count - 1), max_size=5)):
        before = place + 1 - (missing == 0)
        unknown = not before or (missing and missing <= place)
        assert sums.upto(place) == (None if unknown else -before)


def selected(app: Host) -> list[int]:
    return [m.index for m in app.posted if isinstance(m, TokenText.CursorMoved)]


async def test_keys_walk_the_tokens() -> None:
    view = TokenView()
    app = Host(view)
    shown = tokens("one", " two", "\n", "three", " four")
    async with app.run_test(size=(40, 8), message_hook=app.hook) as pilot:
        view.show(shown)
        view.focus()
        await pilot.press(
            "left", "right", "down", "up", "ctrl+end", "right", "ctrl+home"
        )
        assert app.lines()[:2] == ["one two⏎", "three four"]
    assert selected(app) == [1, 3, 0, 4, 0]


async def test_token_view_describes_the_token_under_the_cursor() -> None:
    view = TokenView()
    app = Host(view)
    first = ScoredToken(0, 0, "one", b"one", None, None, None)
    shown = [first, *tokens(" two", " three", logprob=math.log(0.25))]
    async with app.run_test(size=(80, 8)) as pilot:
        view.show(shown)
        await pilot.pause()
        assert "1/3 “one” · log P – nats · surprisal – bits" in app.text()
        view.select(2)
        await pilot.pause()
        assert "3/3 “·three” · log P −1.39 nats · surprisal 2.0 bits" in app.text()
        assert (
            "p 25.0% · rank 3 · Σ to here −2.77 nats · surprisal 4.0 bits" in app.text()
        )
        cat = "🐈".encode()
        view.show(tokens(cat[:2], cat[2:]), index=1)
        await pilot.pause()
        assert "2/2" in app.text() and "part 2 of 2" in app.text()


async def test_n_keys_jump_between_surprises() -> None:
    view = TokenView()
    app = Host(view)
    shown = [
        *tokens("a", "b", logprob=-0.1),
        *tokens("c", logprob=-5.0),
        *tokens("d", logprob=-0.1),
        *tokens("e", logprob=-9.0),
    ]
    async with app.run_test(size=(40, 8), message_hook=app.hook) as pilot:
        view.show(shown)
        view.focus()
        await pilot.press("n", "n", "n", "N", "N")
    assert selected(app) == [2, 4, 2]


async def test_click_selects_a_token() -> None:
    async with hosted(view := TokenView(), (40, 8)) as (app, pilot):
        view.show(tokens("one", " two", "\n", "three"))
        await pilot.pause()
        await pilot.click(TokenView, offset=(4, 0))
        await pilot.click(TokenView, offset=(1, 1))
        await pilot.click(TokenView, offset=(30, 1))
    assert selected(app) == [1, 3]


async def test_surprise_is_drawn_with_attributes_beside_colour() -> None:
    view = TokenView()
    app = Host(view)
    shown = [*tokens("c", "plain", logprob=-0.1), *tokens("odd", logprob=-3.5),
             *tokens("never", logprob=-20.0)]  # fmt: skip
    async with app.run_test(size=(40, 8)) as pilot:
        view.show(shown)
        await pilot.pause()
        line = next(iter(app.strips()))
        styles = {segment.text: segment.style for segment in line}
    plain, odd, never = (styles[text] for text in ("plain", "odd", "never"))
    assert plain and not (plain.underline or plain.bold or plain.reverse)
    assert odd and odd.underline and odd.bold
    assert never and never.reverse


async def test_home_and_end_go_to_the_ends_of_the_line() -> None:
    view = TokenView()
    app = Host(view)
    wide = "a word that is wider than the line "  # begins on the line before
    emoji = ScoredToken(3, 3, "⟨F0 9F⟩", b"\xf0\x9f", -1.0, 1, 1.0)
    rest = replace(emoji, index=4, text="⟨98 80⟩", bytes=b"\x98\x80")
    shown = [*tokens("one", " two", "\n"), emoji, rest, *tokens(wide, "end")]
    async with app.run_test(size=(20, 9)) as pilot:
        view.show(shown, open_end=True)
        view.focus()
        for keys, index in (
            (("end",), 2), (("end",), 2), (("home",), 0), (("home",), 0),
            (("right", "home"), 0), (("down", "end"), 5), (("home",), 3),
            (("ctrl+end",), 7), (("home",), 6), (("home",), 6), (("end",), 7),
            (("ctrl+home",), 0),
        ):  # fmt: skip
            await pilot.press(*keys)
            assert view.index == index, (keys, app.lines())


async def test_a_long_text_scrolls_with_the_cursor_and_rewraps() -> None:
    async with hosted(view := TokenView(), (30, 8)) as (app, pilot):
        view.show(tokens(*(f"word{index} " for index in range(500))))
        view.focus()
        await pilot.press("ctrl+end")
        await pilot.pause()
        assert "word499" in app.text()
        await resized(pilot, 50, 10)
        assert "word499" in app.text()
        await pilot.press("ctrl+home")
        await pilot.pause()
        assert "word0 " in app.text()


async def test_a_long_text_is_laid_out_little_by_little() -> None:
    app = Host(view := TokenView())
    shown = tokens(*(f"word{index}\n" for index in range(3000)))
    async with app.run_test(size=(30, 8)) as pilot:
        view.show(shown)
        view.focus()
        text = view._text
        assert len(text._lines) < len(shown)
        await pilot.press("pagedown", "pagedown")
        assert view.first_seen == text._lines[text.scroll_offset.y][0].piece > 0
        await pilot.press("ctrl+end")
        assert view.index == len(shown) - 1 and "word2999" in app.text()
        view.show(shown)
        for _ in range(400):
            if text.virtual_size.height > len(shown):
                break
            await pilot.pause(0.02)
        assert text._lines == list(wrap(pieces_of(shown), text._text_width()))
        view.rescore([replace(token, logprob=None) for token in shown])
        view.select(2)
        await pilot.pause()
        assert "Σ to here –" in app.text()


async def test_token_view_without_tokens_says_so_and_ignores_keys() -> None:
    async with hosted(view := TokenView(), (40, 8)) as (app, pilot):
        view.focus()
        await pilot.press("left", "right", "up", "down", "home", "end", "n", "N")
        await pilot.press("ctrl+home", "ctrl+end")
        assert "No tokens to show." in app.text()
        view.show([])
        await pilot.click(TokenView, offset=(1, 0))
    assert selected(app) == []


async def test_token_view_draws_hostile_tokens_safely() -> None:
    view = TokenView()
    app = Host(view)
    shown = tokens(*HOSTILE.values())
    async with app.run_test(size=(40, 12), message_hook=app.hook) as pilot:
        view.show(shown)
        view.focus()
        for _ in shown:
            assert safe(app.text())
            assert max(map(cell_len, app.lines())) <= 40
            await pilot.press("right")
    assert selected(app) == list(range(1, len(shown)))


async def test_the_cursor_goes_by_word_page_and_mouse() -> None:
    text = "one two  three\n" * 30
    async with hosted(view := TokenView(), (60, 14)) as (app, pilot):
        tokens = list(FakeEngine().score(text.encode()))
        view.show(tokens, open_end=True)
        view.focus()
        await pilot.press("ctrl+right")
        assert view.index == 4
        await pilot.press("ctrl+right")
        assert view.index == 9  # the first letter behind two spaces
        await pilot.press("ctrl+left", "ctrl+left")
        assert view.index == 0
        await pilot.press("pagedown")
        below = view.index
        assert below > 15 * 8
        await pilot.press("pageup")
        assert view.index < 15
        await pilot.press("ctrl+end")
        assert view.index == len(tokens)  # behind the last
        await pilot.press("ctrl+home", "shift+down", "shift+right")
        assert view.selection == (0, 17)
        await pilot.press("left")
        assert view.selection is None
        await pilot.press("ctrl+home")
        await pilot.mouse_down(view, offset=(4, 0))
        await pilot.hover(view, offset=(7, 1))
        await pilot.mouse_up(view, offset=(7, 1))
        await pilot.pause()
        assert view.selection == (4, 15 + 8)
        changed = [m for m in app.posted if isinstance(m, TokenText.Selected)]
        assert changed[-1].selection == view.selection


async def test_every_measure_has_its_legend_and_spaces_can_be_seen() -> None:
    async with hosted(view := TokenView(), (60, 14)) as (app, pilot):
        view.show(list(FakeEngine().score(b"a b\tc")))
        view.focus()
        for measure in (
            *("rank", "entropy", "probability", "typicality", "surprisal"),
        ):
            await pilot.press("m")
            await pilot.pause()
            assert measure in app.text()
        await pilot.press("full_stop")
        await pilot.pause()
        assert "a·b→c" in app.text()
        view.compare([None, 3.0, -4.0, 0.1, 0.0], {})
        await pilot.pause()
        assert "difference" in app.text()
        assert "a·b→c" in app.text()
        view.compare((), {})
        await pilot.pause()
        assert "surprisal" in app.text()


@pytest.mark.parametrize("colours", [True, False])
async def test_difference_signs_are_drawn_only_without_colours(
    monkeypatch: pytest.MonkeyPatch, colours: bool
) -> None:
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    async with hosted(view := TokenView(), (60, 14)) as (app, pilot):
        view.show(tokens("plus", " and", " minus"))
        view.compare([3.0, 0.0, -4.0], {})
        await pilot.pause()
        assert app.lines()[0] == ("plus and minus" if colours else "⁺plus and ⁻minus")


async def test_forced_tokens_are_slanted_and_said_to_be_forced() -> None:
    engine = FakeEngine([["The", " cat", "!"]])
    prompt = engine.prompt([])
    steps = [
        replace(each, forced=each.piece == " cat")
        for each in engine.generate(prompt, SamplingSettings())
        if isinstance(each, Step)
    ]
    view = TokenView()
    async with Host(view).run_test(size=(80, 12)) as pilot:
        view.show(steps)
        text = view.query_one(TokenText)
        await pilot.pause()
        slanted = {
            segment.text: bool(segment.style and segment.style.italic)
            for segment in text.render_line(0)
        }
        assert slanted[" cat"] and not slanted["!"]
        view.select(1)
        await pilot.pause()
        detail = view.query_one(TokenDetail)
        assert "forced" in detail.lines(80, 2)[0][0][0]
        view.select(2)
        await pilot.pause()
        assert "forced" not in detail.lines(80, 2)[0][0][0]
