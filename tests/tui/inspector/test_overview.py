"""What a text adds up to, on one page."""

from __future__ import annotations

import math
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmtui.analysis.branches import BranchText
from lmtui.analysis.compare import ComparedSpan
from lmtui.analysis.scored_document import MOST
from lmtui.analysis.summary import Totals, known_by_heart
from lmtui.engine.types import ScoredToken
from lmtui.notation import perplexity
from lmtui.tui.inspector.overview import (
    OverviewScreen,
    SummaryFigures,
    SurprisalPlot,
    bar,
    by_heart_lines,
    calibration_lines,
    changed_rows,
    entropy_lines,
    means,
    rank_lines,
    rows_of,
    totals_lines,
)
from lmtui.tui.widgets.dialog_list import DialogList
from tests.fakes import FakeEngine
from tests.tui.hosts import HOSTILE, safe
from tests.tui.inspecting import inspecting
from tests.tui.programs import assert_laid_out

TEXT = "the cat sat on the mat, and that was that"


def scored(text: str) -> list[ScoredToken]:
    return list(FakeEngine().score(text.encode(), top_n=20))


def test_changed_rows_show_the_changed_text_before_what_follows() -> None:
    shown = scored(TEXT)
    here = ComparedSpan(tokens=((shown[4], (4, 5)), (shown[5], (5, 6))))
    (line,) = changed_rows(shown, [here])
    assert line.plain.split("bits ")[1] == "ca t sat on th"


def as_text(lines: list[list[tuple[str, str]]]) -> list[str]:
    return ["".join(part for part, _ in line) for line in lines]


@given(
    values=st.lists(st.none() | st.floats(0, 30), max_size=80),
    count=st.integers(1, 60),
)
def test_means_stay_within_the_values_of_the_columns(
    values: list[float | None], count: int
) -> None:
    columns = means(values, count)
    assert len(columns) == count
    known = [value for value in values if value is not None]
    drawn = [value for value in columns if value is not None]
    assert bool(known) == bool(drawn)
    if known:
        assert min(known) - 1e-9 <= min(drawn) and max(drawn) <= max(known) + 1e-9
    if len(values) == count and None not in values:
        assert columns == pytest.approx(values)


@given(share=st.floats(0, 1), room=st.integers(1, 40))
def test_a_bar_is_as_long_as_its_share(share: float, room: int) -> None:
    drawn = bar(share, room)
    assert cell_len(drawn) == room
    full = drawn.count("█")
    assert abs(full - share * room) < 1
    assert bool(drawn.strip()) == (share > 0)
    assert bar(math.nan, room).strip() == "–"


@pytest.mark.parametrize("width", [24, 38, 60])
def test_overview_lines_fit_the_width_and_add_up(width: int) -> None:
    tokens = scored(TEXT)
    totals = Totals()
    for token in tokens:
        totals.add(token)
    way = BranchText(tokens, TEXT, FakeEngine().encode(TEXT).spans, len(tokens))
    told_at_once = by_heart_lines(known_by_heart(totals), width)
    assert "no proof" in " ".join(as_text(told_at_once))  # type: ignore[arg-type]
    ranks, entropies = rank_lines(totals, width), entropy_lines(totals, width)
    told = calibration_lines(totals.calibration, width)
    for line in as_text([*told_at_once, *ranks, *entropies, *told]):  # type: ignore[list-item]
        assert cell_len(line) <= max(width, 31)
    for lines in (ranks, entropies):
        seen = [int(as_text([line])[0].split()[-2]) for line in lines[1:]]  # type: ignore[list-item]
        assert sum(seen) == totals.scored
    sums = as_text(totals_lines(way.sums("text", 0, len(tokens))))  # type: ignore[arg-type]
    assert perplexity(totals.perplexity) in sums[2]
    assert "top 1" in as_text(told)[1]  # type: ignore[arg-type]


def test_overview_without_scored_tokens_has_no_bars() -> None:
    totals = Totals()
    assert by_heart_lines(known_by_heart(totals), 40) == []
    assert rank_lines(totals, 40) == entropy_lines(totals, 40) == []
    assert calibration_lines(totals.calibration, 40) == []
    assert SurprisalPlot(id="plot").lines(60, 7)[1:] == []


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tokens_are_listed_safely(name: str) -> None:
    data = HOSTILE[name].encode("utf-8", "surrogatepass")
    token = ScoredToken(0, 0, HOSTILE[name], data, -3.0, 7, 1.0)
    for line in rows_of([token, token], [0, 1]):
        assert safe(line.plain)


async def test_overview_lists_the_worst_surprises_and_goes_to_one() -> None:
    name = " Constantinople"
    long = ScoredToken(0, 0, name, name.encode(), -9.0, 49_000, 1.0)
    (row,) = rows_of([long] * 2000, [1500])
    async with inspecting(TEXT, size=(80, 24)) as page:
        await page.press("o")
        overview = await page.running.on(OverviewScreen)
        assert_laid_out(overview)
        tokens = scored(TEXT)[1:]
        worst = sorted(tokens, key=lambda t: t.logprob or 0.0)[:MOST]
        rows = overview.query_one(DialogList)
        assert rows.option_count == len(worst)
        room = rows.content_size.width - 2  # beside padding
        assert cell_len(row.plain[:room].partition("… ")[2]) >= 6
        await page.press("down", "enter")
        await page.until(lambda: page.view.index == worst[1].index)


async def test_overview_follows_a_text_while_it_is_scored() -> None:
    gate = Event()

    def hold(index: int) -> None:
        if index == 9:
            assert gate.wait(20)

    engine = FakeEngine(name="default", on_token=hold)
    async with inspecting(TEXT, engine, asked=False) as page:
        await page.until(lambda: page.view.tokens)
        await page.press("o")
        overview = await page.running.on(OverviewScreen)
        await page.until(lambda: "as far as it is read: " in page.running.seen)
        assert overview.query_one(DialogList).option_count < 10
        gate.set()
        await page.until(lambda: not page.screen.compare.either_reads)
        await page.until(lambda: "as far as it is read" not in page.running.seen)
        rows = overview.query_one(DialogList)
        assert (rows.option_count, rows.highlighted) == (MOST, 0)
        figures, bars = overview.query_one("#figures"), overview.query_one("#bars")
        await page.until(lambda: figures.max_scroll_y)  # laid out anew
        await page.until(
            lambda: bars.outer_size.width == figures.scrollable_content_region.width
        )  # beside the scrollbar
        followed = page.running.seen
        await page.press("escape", "o")
        await page.running.on(OverviewScreen)
        await page.until(lambda: page.running.seen == followed)


@pytest.mark.parametrize(("text", "size"), [("", (80, 24)), (TEXT, (40, 12))])
async def test_overview_is_laid_out_for_an_empty_text_or_a_small_screen(
    text: str, size: tuple[int, int]
) -> None:
    async with inspecting(text, size=size) as page:
        await page.press("o")
        overview = await page.running.on(OverviewScreen)
        assert_laid_out(overview)
        assert overview.query_one(SummaryFigures).lines(30, 0)
        await page.press("escape")
        await page.until(lambda: page.running.app.screen is page.screen)
