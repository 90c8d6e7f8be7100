"""What a text adds up to, on one page."""

from __future__ import annotations

from threading import Event

import pytest
from rich.cells import cell_len

from lmtui.analysis.scored_document import MOST
from lmtui.analysis.summary import Totals, figures
from lmtui.engine.types import ScoredToken
from lmtui.tui.inspector.overview import OverviewScreen, rows_of, table_of
from lmtui.tui.widgets.dialog_list import DialogList
from tests.fakes import FakeEngine
from tests.tui.hosts import HOSTILE, safe
from tests.tui.inspecting import inspecting
from tests.tui.programs import assert_laid_out

TEXT = "the cat sat on the mat, and that was that"


def scored(text: str) -> list[ScoredToken]:
    return list(FakeEngine().score(text.encode(), top_n=20))


def test_table_lists_the_totals_below_each_other() -> None:
    totals = Totals()
    for token in scored(TEXT):
        totals.add(token)
    lines = table_of(totals).plain.split("\n")
    assert len({cell_len(line) for line in lines}) == 1
    for line, (name, value) in zip(lines, figures(totals).items(), strict=True):
        assert line.startswith(f"{name} ") and line.endswith(f" {value}")


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
        assert "Σ log P" in page.running.seen
        await page.press("escape")
        await page.until(lambda: page.running.app.screen is page.screen)
