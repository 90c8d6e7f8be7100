"""The logit lens on the screen: what is asked, what is drawn, and where it leads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.engine.lens import LensColumn
from lmtui.engine.scoring.passages import DocumentSpan
from lmtui.engine.types import Candidate, Capabilities, ScoredToken
from lmtui.engine.windows import Windows
from lmtui.errors import LmtuiError
from lmtui.notation import percent
from lmtui.surprisal_scale import step
from lmtui.tui.inspector.lens import LensScreen
from lmtui.tui.inspector.lens_columns import LensColumns
from lmtui.tui.inspector.lens_grid import (
    AWAITED,
    CELL,
    GUTTER,
    MATCH,
    NO_CONTEXT,
    LensGrid,
    LensTable,
    LensView,
    cell_lines,
)
from lmtui.tui.model_state import ModelState
from lmtui.worker.requests import Slot
from tests.fakes import FakeEngine
from tests.tui.hosts import HOSTILE, THEMES, hosted, safe
from tests.tui.inspecting import Inspecting, inspecting
from tests.tui.programs import assert_laid_out

TEXT = "the cat sat on the mat, and that was that"
IDS = tuple(TEXT.encode())


def snapshot(count: int = 8, *, layers: int = 4, **fields: Any) -> LensView:
    """Tokens of the text, and all columns of the first of them."""
    engine = FakeEngine(layers=layers)
    columns = engine.logit_lens(IDS, range(count), top_n=3)
    tokens = engine.describe_tokens(IDS)
    known = {"index": 2, "end": count, "layers": layers + 1} | fields
    return LensView(tokens, {each.index: each for each in columns}, **known)


def plain(lines: Any) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


# The drawing.


@given(layers=st.integers(1, 100), rows=st.integers(1, 60), at=st.integers(0, 99))
def test_seen_layers_descend_and_have_the_cursor(
    layers: int, rows: int, at: int
) -> None:
    view = LensView(layers=layers, layer=min(at, layers - 1))
    seen = list(view.seen_layers(rows))
    assert len(seen) == min(layers, rows)
    assert view.layer in seen
    assert seen == list(range(seen[0], seen[0] - len(seen), -1))
    assert seen[-1] >= 0 and seen[0] < layers


@pytest.mark.parametrize("height", [5, 7, 20])
@pytest.mark.parametrize("width", [24, 77, 100])
def test_grid_has_a_row_for_each_layer_and_a_cell_for_each_token(
    width: int, height: int
) -> None:
    grid, view = LensGrid(), snapshot(7, layer=2)
    grid.view = view
    head, *rows, foot = plain(grid.lines(width, height))
    assert [int(row[:GUTTER]) for row in rows] == list(view.seen_layers(height - 2))
    assert head.startswith("next") and foot.startswith("read")
    assert {len(line) for line in (head, *rows, foot)} == {GUTTER + 7 * CELL}
    for index in range(7):
        at = slice(GUTTER + index * CELL, GUTTER + (index + 1) * CELL)
        assert head[at].strip() == view.text(index)
        assert foot[at].strip() == (view.text(index - 1))
        for row in rows:
            column = view.columns[index]
            if not column.rows:
                assert row[at].strip() == "–"
                continue
            best = column.rows[int(row[:GUTTER])].top[0]
            assert (row[at][0] == MATCH) == (best.id == IDS[index])


def test_shade_and_bar_grow_with_the_probability() -> None:
    grid, view = LensGrid(), snapshot(2)
    row = view.columns[1].rows[4]
    seen = []
    for prob in (0.001, 0.02, 0.1, 0.3, 0.6, 0.95):
        top = (row.top[0]._replace(logprob=math.log(prob)),)
        column = LensColumn(1, (*view.columns[1].rows[:4], replace(row, top=top)))
        grid.view = replace(view, columns={1: column})
        text, name = grid._cell(1, 4)
        seen.append(text[-1])
        assert name == f"p{step(prob, 'probability')}"
    assert seen == sorted(seen, key=" ▁▂▃▄▅▆▇█".index) and len(set(seen)) == 5


def test_column_has_the_numbers_of_every_layer() -> None:
    table, view = LensTable(), snapshot(layer=1)
    table.view = view
    title, heads, *rows = table.lines(60, 24)
    assert plain([title]) == ["token 3: “e” · after “h”"]
    assert plain([heads])[0].split() == [
        *["layer", "likeliest", "p", "p", "next", "rank", "bits"]
    ]
    column = view.column
    assert column is not None and len(rows) == 5
    for line, row in zip(rows, reversed(column.rows), strict=True):
        ((text, name),) = line
        words = text.replace(MATCH, " ").split()
        assert words[0] == str(row.layer)
        assert words[2] == percent(row.top[0].prob)
        assert words[-2] == str(row.rank)
        assert (name == "cursor") == (row.layer == 1)


def test_end_and_beginning_of_the_text_are_named() -> None:
    table, end = LensTable(), len(IDS)
    table.view = view = snapshot(end + 1, index=end, layer=4)
    lines = plain(table.lines(60, 24))
    assert lines[0] == "token 42: the end · after “t”"
    assert lines[2].split()[3:5] == ["–", "–"]
    assert cell_lines(view, 70)[1] == "the end of the text"
    table.view = view = replace(view, index=0)
    lines = plain(table.lines(60, 24))
    assert lines == ["token 1: “t” · the first", NO_CONTEXT]
    assert cell_lines(view, 70)[0] == NO_CONTEXT
    table.view = LensView(tokens=view.tokens, index=5)
    assert plain(table.lines(60, 24))[1] == AWAITED


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tokens_are_drawn_safely(name: str) -> None:
    text = HOSTILE[name]
    data = text.encode("utf-8", "surrogatepass")
    token = ScoredToken(0, 7, text, data, -3.0, 7, 1.0)
    top = (Candidate(7, text, data, -0.5),)
    given_view = snapshot(3)
    rows = tuple(replace(row, top=top) for row in given_view.columns[2].rows)
    view = replace(
        given_view, tokens=[token] * 3, columns={2: LensColumn(2, rows)}, end=3
    )
    grid, table = LensGrid(), LensTable()
    grid.view = table.view = view
    for lines in (grid.lines(60, 20), table.lines(60, 20)):
        for line in plain(lines):
            assert safe(line) and cell_len(line) <= 60
    for line in cell_lines(view, 60):
        assert safe(line) and cell_len(line) <= 60


@pytest.mark.parametrize("colours", [True, False])
async def test_cursor_is_the_only_cell_in_reverse(
    colours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    async with hosted(grid := LensGrid(), (80, 20)) as (app, pilot):
        grid.view = snapshot(7, layer=3)
        for theme in THEMES.themes:
            app.register_theme(theme)
            app.theme = theme.name
            await pilot.pause()
            segments = [segment for strip in app.strips() for segment in strip]
            reverse = [s.text for s in segments if s.style and s.style.reverse]
            assert len(reverse) == 1 and len(reverse[0]) == CELL - 1


# What is asked.


class Asked:
    """A client that only notes what it is asked."""

    def __init__(self) -> None:
        self.all: list[tuple[range, Slot]] = []
        self.functions: dict[str, Callable[..., object]] = {}
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1

    def ask(self, slot: Slot, run: Any, then: Any, failed: Any, **how: Any) -> None:
        run(self, None)
        self.all.append((self._wanted, slot))
        self.functions = {"then": then, "failed": failed, **how}

    def logit_lens(self, _: object, positions: range, **how: Any) -> list[LensColumn]:
        self._wanted = positions
        return []

    def answer(self, *, only: int | None = None) -> None:
        """Answer the last request, with so many columns or with all."""
        wanted, _ = self.all[-1]
        self.functions["batch"](tuple(LensColumn(at, ()) for at in wanted[:only]))
        if only is None:
            self.functions["then"](None)


def columns_of(client: Any) -> LensColumns:
    text = DocumentSpan((1,) * 2000, (), Windows(100, 50), 0, 2001)
    return LensColumns(client, text, changed=lambda: None)


def test_column_at_the_cursor_comes_first_and_none_is_asked_twice() -> None:
    client = Asked()
    columns = columns_of(client)
    columns.show(12, range(10, 16))
    assert client.all == [(range(12, 13), Slot.LOOK)]
    columns.show(12, range(10, 16))
    assert len(client.all) == 1 and columns.is_asking and columns.missing == 6
    client.answer()
    assert client.all[1:] == [(range(10, 12), Slot.SUGGEST)]
    client.answer()
    assert client.all[2:] == [(range(13, 16), Slot.SUGGEST)]
    client.answer(only=2)
    columns.show(13, range(10, 16))  # what is under way has the rest
    assert len(client.all) == 3
    columns.show(15, range(10, 16))
    assert client.all[3:] == [(range(15, 16), Slot.LOOK)]
    client.answer()
    assert not columns.is_asking and not columns.missing
    columns.show(14, range(10, 16))
    assert len(client.all) == 4


def test_error_is_kept_and_nothing_more_is_asked() -> None:
    client = Asked()
    columns = columns_of(client)
    columns.show(3, range(6))
    client.functions["failed"](error := LmtuiError("no"))
    assert columns.error is error and not columns.is_asking
    columns.show(4, range(6))
    assert len(client.all) == 1


def test_dropped_request_is_asked_again_with_the_next_move() -> None:
    client = Asked()
    columns = columns_of(client)
    columns.show(3, range(3, 4))
    client.functions["dropped"]()
    assert not columns.is_asking
    columns.show(3, range(3, 4))
    assert client.all == [(range(3, 4), Slot.LOOK)] * 2
    columns.close()
    assert not columns.is_asking and client.cancelled


def test_memory_is_bounded() -> None:
    client = Asked()
    columns = columns_of(client)
    for first in range(0, 1900, 50):
        columns.show(first, range(first, first + 50))
        while columns.is_asking:
            client.answer()
    assert len(columns.known) < 700
    assert all(at in columns.known for at in range(1850, 1900))


# The screen.


async def opened(page: Inspecting) -> LensScreen:
    await page.press("L")
    screen = await page.running.on(LensScreen)
    await page.until(lambda: screen._columns.known and not screen._columns.is_asking)
    return screen


@pytest.mark.parametrize("size", [(120, 40), (40, 12)])
async def test_lens_shows_the_cursor_and_goes_to_a_token(size: tuple[int, int]) -> None:
    async with inspecting(TEXT, size=size) as page:
        await page.to(5)
        lens = await opened(page)
        assert_laid_out(lens)
        assert "Logit lens of notes.txt" in page.running.seen
        wide = size[0] >= 100
        assert lens.query_one(LensTable).display == wide
        assert lens.query_one("#cell").display != wide
        assert 5 in lens._shown_range and len(lens._shown_range) == lens._grid.capacity
        await page.press("right", "right", "enter")
        await page.until(lambda: page.running.app.screen is page.screen)
        await page.until(lambda: page.view.index == 7)


async def test_last_layer_has_the_numbers_of_the_inspector() -> None:
    engine = FakeEngine(name="default")
    async with inspecting(TEXT, engine) as page:
        await page.to(5)
        lens = await opened(page)
        token = page.screen.document.path[5]
        column = lens._columns.known[5]
        last = column.rows[-1]
        assert (last.logprob, last.rank) == (token.logprob, token.rank)
        assert last.entropy == token.entropy
        assert "token 6: “a”" in page.running.seen
        asked = [what for verb, what in engine.calls if verb == "lens"]
        assert asked[0] == (5,)
        assert sorted(at for each in asked for at in each) == list(lens._shown_range)


async def test_lens_keys_stay_within_text_and_layers() -> None:
    async with inspecting(TEXT, size=(80, 24)) as page:
        lens = await opened(page)
        await page.press("left", "up", "pageup")
        assert (lens._index, lens._view.layer) == (0, 4)
        await page.press(*["down"] * 7)
        assert lens._view.layer == 0
        await page.press("end", "right", "pagedown")
        assert lens._index == len(TEXT)
        await page.until(lambda: "the end of the text" in page.running.seen)
        assert lens._shown_range.stop == len(TEXT) + 1
        await page.press("home")
        await page.until(lambda: NO_CONTEXT in page.running.seen)
        await page.press("pagedown")
        assert lens._index == lens._grid.capacity
        await page.press("c")
        await page.until(lambda: "likeliest" in page.running.seen)
        assert not lens._grid.display or not lens._grid.region
        seen = lens._shown_range
        await page.press("c")
        await page.until(lambda: "next “" in page.running.seen)
        await page.until(lambda: len(lens._shown_range) == lens._grid.capacity > 1)
        assert lens._shown_range.start == seen.start
        await page.press("escape")
        await page.until(lambda: page.running.app.screen is page.screen)
        assert page.view.index == 0


async def test_click_puts_the_cursor_on_a_cell() -> None:
    async with inspecting(TEXT) as page:
        await page.to(3)
        lens = await opened(page)
        first = lens._shown_range.start
        await page.running.pilot.click(LensGrid, offset=(GUTTER + 2 * CELL + 1, 3))
        await page.until(lambda: lens._index == first + 2)
        assert lens._view.layer == 2
        await page.running.pilot.click(LensGrid, offset=(1, 1))
        assert lens._index == first + 2


async def test_progress_is_seen_while_the_model_works() -> None:
    gate = Event()

    def hold(index: int) -> None:
        lens = engine.calls[-1][0] == "lens"
        if lens and len(engine.calls[-1][1]) > 1:  # type: ignore[arg-type]
            assert gate.wait(20)

    engine = FakeEngine(name="default", on_token=hold)
    async with inspecting(TEXT, engine) as page:
        await page.to(5)
        await page.press("L")
        lens = await page.running.on(LensScreen)
        count = lens._grid.capacity
        await page.until(
            lambda: f"1 of {count} tokens looked into" in page.running.seen
        )
        assert "…" in page.running.seen
        gate.set()
        await page.until(lambda: "Arrows move" in page.running.seen)
        assert "…" not in page.running.seen


async def test_refusal_stands_in_place_of_the_grid() -> None:
    engine = FakeEngine(name="default")
    async with inspecting(TEXT, engine) as page:
        engine.error = LmtuiError("the logit lens can't be computed", "why", "Hint.")
        await page.press("L")
        await page.until(lambda: "can't be computed: why. Hint." in page.running.seen)
        assert not page.running.app.screen.query_one(LensGrid).region
        await page.press("right", "escape")
        await page.until(lambda: page.running.app.screen is page.screen)


async def test_lens_that_cannot_be_opened_says_why() -> None:
    engine = FakeEngine(name="default")
    engine.capabilities = Capabilities(why_no_lens="a server sends no states")
    async with inspecting(TEXT, engine, notices=True) as page:
        await page.press("L")
        await page.until(
            lambda: "There is no logit lens: a server" in page.running.notices
        )
        page.screen.document.model = ModelState()
        await page.press("L")
        await page.until(lambda: "No model is loaded yet." in page.running.notices)
        assert page.running.app.screen is page.screen


async def test_another_model_closes_the_lens() -> None:
    async with inspecting(TEXT) as page:
        await opened(page)
        page.running.app.model = replace(page.running.app.model, stage="another")
        await page.until(lambda: page.running.app.screen is page.screen)
        await opened(page)
