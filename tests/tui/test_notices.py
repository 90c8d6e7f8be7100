"""Where notices are shown: never over what is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.content import Content
from textual.widget import Widget

from lmtui.tui.chat.prompt import PromptField
from lmtui.tui.dialogs import PageScreen
from lmtui.tui.history import HistoryScreen
from lmtui.tui.widgets.sampler_controls import SamplerControls
from lmtui.tui.widgets.status import MainPart, Status
from tests.tui.programs import Program, chatting

WORDS = "words that take more than a line of a notice, wherever that is shown; " * 2


def notices(running: Program) -> list[Widget]:
    return list(running.app.screen.query("Toast"))


async def noticed(running: Program, words: str) -> None:
    """Say something in passing, and wait until that is seen."""
    running.app.notify(words, title="A title", timeout=60)
    await running.until(lambda: words[:20] in running.seen)


def stand_above_the_foot(running: Program) -> bool:
    """Whether all of them lie within the main part of the screen."""
    main = running.app.screen.query_one(MainPart).region
    return all(
        notice.region and main.contains_region(notice.region)
        for notice in notices(running)
    )


async def test_notice_never_covers_a_growing_prompt() -> None:
    size = (80, 24)
    async with chatting(size=size, notices=True) as running:
        prompt = running.chat.query_one(PromptField)
        await noticed(running, WORDS)
        for text in ("", "a\n" * 4, "a\n" * 30, "/"):
            prompt.text = text
            await running.until(lambda: stand_above_the_foot(running))
            (notice,) = notices(running)
            assert not notice.region.overlaps(prompt.region)
        side = running.chat.query_one("#side").region
        assert notice.region.right == side.x


@pytest.mark.parametrize("size", [(200, 60), (120, 40), (80, 24), (60, 20)])
async def test_notices_never_cover_the_numbers(size: tuple[int, int]) -> None:
    async with chatting(size=size, notices=True) as running:
        side = running.chat.query_one("#side")
        for number in range(3):
            await noticed(running, f"notice number {number}")
        main = running.chat.query_one(MainPart).region
        last = notices(running)[-1]
        await running.until(lambda: last.region.bottom == main.bottom)
        assert not any(side.region.overlaps(each.region) for each in notices(running))
        await running.press("f2")
        await running.until(lambda: bool(side.region) == (size[0] < 70))
        if not side.region:  # then they have the whole width
            await running.until(lambda: last.region.right == size[0])


async def test_command_that_the_sampler_shows_says_nothing_more() -> None:
    async with chatting(size=(120, 40)) as running:
        await running.ask("/temp 1.25")
        await running.until(lambda: "T 1.25" in running.seen)
        assert running.notices == ""
        await running.pilot.resize_terminal(80, 24)
        await running.until(lambda: "T 1.25" not in running.seen)
        await running.ask("/temp 1.5")
        await running.until(lambda: "temp 1.5" in running.notices)


@pytest.mark.parametrize("size", [(120, 40), (50, 20)])
async def test_notices_never_cover_the_sampler(size: tuple[int, int]) -> None:
    async with chatting(size=size, notices=True) as running:
        sampler = running.chat.query_one(SamplerControls)
        if not sampler.region:
            await running.press("f4")
        for number in range(4):
            await noticed(running, f"notice number {number}")
        await running.until(
            lambda: (
                sampler.region
                and all(each.region for each in notices(running))
                and not any(
                    sampler.region.overlaps(each.region) for each in notices(running)
                )
            )
        )


async def test_notice_stands_above_the_title_prompt_of_the_history(
    tmp_path: Path,
) -> None:
    options = {"chats_file": tmp_path / "chats.db", "size": (80, 24)}
    async with chatting(notices=True, **options) as running:
        await running.ask("count")
        await running.until(
            lambda: len(running.views) == 2 and not running.chat.session.is_busy
        )
        await running.press("ctrl+o")
        await running.on(HistoryScreen)
        await running.until(lambda: "1 conversation" in running.seen)
        await noticed(running, WORDS)
        await running.press("alt+r")
        await running.until(lambda: "Title" in running.seen)
        await running.until(lambda: stand_above_the_foot(running))


async def test_notice_is_shown_once_while_a_page_covers_the_chat() -> None:
    async with chatting(notices=True) as running:
        running.chat.query_one(PromptField).text = "a\n" * 4
        await noticed(running, WORDS)
        running.app.push_screen(PageScreen("A page", Content("with a line")))
        await running.on(PageScreen)
        await running.until(lambda: running.seen.count("A title") == 1)
        await running.press("escape")
        await running.until(lambda: stand_above_the_foot(running))
        assert running.seen.count("A title") == 1


async def test_notice_on_a_dialog_is_short_and_above_the_status_lines() -> None:
    async with chatting(size=(80, 24), notices=True) as running:
        page = PageScreen("A page", Content("words"))
        running.app.push_screen(page)
        await running.on(PageScreen)
        running.app.notify("Copied.")
        await running.until(lambda: "Copied." in running.seen)
        (notice,) = notices(running)
        assert notice.region.height == 1 and notice.region.width < 12
        status = running.chat.query_one(Status)
        assert not notice.region.overlaps(status.region)


async def test_a_notice_is_drawn_as_it_is_written() -> None:
    async with chatting(size=(120, 40), notices=True) as running:
        title, words = "[b]title[/b]\x1b[31m", "[/x] is no markup\x1b]52;c;aGk=\x07"
        running.chat.notify(words, title=title)
        await running.until(lambda: "[/x] is no markup␛]52;c;aGk=␇" in running.seen)
        assert "[b]title[/b]␛[31m" in running.seen
