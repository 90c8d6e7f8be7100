"""The states of the inspector: what is said in each, and where Esc leads."""

from __future__ import annotations

import re
from itertools import permutations
from threading import Event
from typing import Any

import pytest

from lmtui.engine.types import SamplingSettings, TokenMatches
from lmtui.tui.inspector.lens import LensScreen
from lmtui.tui.inspector.token_finder import TokenFinder
from lmtui.tui.start import StartScreen
from lmtui.tui.widgets.sampler_controls import SamplerControls
from tests.fakes import FakeEngine
from tests.tui.inspecting import Inspecting, inspecting

TEXT = "the cat sat on the mat"

STATES = {
    "reading": ("scoring ", "stopped"),
    "stopped": ("stopped at .* r reads on", "left"),
    "ready": ("ready", "left"),
    "writing": (r"(writing|reading \d+/\d+ tokens) · Esc stops", "written"),
    "written": ("stopped; g goes on", "left"),
}
"""What the status line says in each state, and the state after Esc in the text."""
FOCUS = {"panel": "tab", "finder": "f", "sampler": "f4"}
"""Key that leads from the text to each other place; Esc leads back."""


class Held:
    """An engine that waits at a token until it may go on."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.first = 5
        """Index of the first token that it waits at, of a text or an answer."""
        self.engine = FakeEngine([" dog ran off"], name="default", on_token=self._wait)

    def _wait(self, index: int) -> None:
        if index >= self.first:
            assert self.go_on.wait(20)


async def be(page: Inspecting, state: str) -> None:
    """Wait until the status line says that this is the state."""
    await page.until(lambda: re.match(STATES[state][0], page.state))
    assert page.running.app.screen is page.screen


async def escape(page: Inspecting, held: Held, state: str) -> None:
    """Press Esc in the text, and see that it leads where the table says."""
    await page.press("escape")
    held.go_on.set()
    if (after := STATES[state][1]) == "left":
        await page.running.on(StartScreen)
    else:
        await be(page, after)


async def look_around(page: Inspecting, order: tuple[str, ...]) -> None:
    """Go to each other place and back by Esc, which does nothing else."""
    where: dict[str, type[Any]] = {"finder": TokenFinder, "sampler": SamplerControls}
    before = page.state
    for place in order:
        await page.press(FOCUS[place])
        there = page.screen.query_one(where[place]) if place in where else page.panel
        await page.until(lambda there=there: there.has_focus_within)  # type: ignore[misc]
        await page.press("escape")
        await page.until(lambda: page.view.has_focus_within)
        assert (page.running.app.screen, page.state) == (page.screen, before)


async def test_each_state_is_named_and_escape_goes_one_step_back() -> None:
    held = Held()
    async with inspecting(TEXT, held.engine, asked=False) as page:
        await be(page, "reading")
        await page.until(lambda: page.view.tokens)
        await page.press("end", "left")
        await page.until(lambda: "not scored" in page.running.seen)
        assert "known once" in page.running.seen
        await escape(page, held, "reading")
        held.go_on.clear()
        await page.press("r")
        await be(page, "reading")
        held.go_on.set()
        await be(page, "ready")
        assert "not scored" not in page.running.seen
        held.go_on.clear()
        held.first = 0
        await page.press("g")
        await be(page, "writing")
        await page.press("L")
        await page.until(lambda: "The model is writing" in page.running.notices)
        assert not isinstance(page.running.app.screen, LensScreen)
        await escape(page, held, "writing")


@pytest.mark.parametrize("order", permutations(FOCUS))
async def test_escape_leads_back_to_the_text(order: tuple[str, ...]) -> None:
    async with inspecting(TEXT) as page:
        await be(page, "ready")
        await look_around(page, order)


@pytest.mark.parametrize("state", ["stopped", "ready"])
async def test_escape_in_the_text_leaves_only_where_nothing_works(state: str) -> None:
    held = Held()
    async with inspecting(TEXT, held.engine, asked=False) as page:
        await be(page, "reading")
        if state == "stopped":
            await escape(page, held, "reading")
        held.go_on.set()
        await be(page, state)
        await escape(page, held, state)


async def test_search_at_a_scored_token_says_that_it_searches() -> None:
    go_on = Event()
    engine = FakeEngine(name="default")
    look = engine.next_distribution

    def slowly(*args: Any, **how: Any) -> Any:
        assert go_on.wait(20)
        return look(*args, **how)

    engine.next_distribution = slowly  # type: ignore[method-assign]
    async with inspecting(TEXT, engine) as page:
        await page.press("right", "right", "f", "z")
        finder = page.screen.query_one(TokenFinder)
        await page.until(lambda: "Searching." in page.running.seen)
        assert "known once" not in page.running.seen
        go_on.set()
        await page.until(lambda: finder.rows)
        assert "tokens have this" in page.running.seen


async def test_search_and_panel_are_both_answered() -> None:
    """A change of the bias asks for both, while another search is computed."""
    asked, go_on = Event(), Event()
    engine = FakeEngine(name="default")
    find = engine.search_vocabulary

    def slowly(
        handle: int, text: str, settings: SamplingSettings, *, count: int = 50
    ) -> TokenMatches:
        if text == "zz":
            asked.set()
            assert go_on.wait(20)
        return find(handle, text.rstrip("z") + "z", settings, count=count)

    engine.search_vocabulary = slowly  # type: ignore[method-assign]
    async with inspecting(TEXT, engine) as page:
        await page.to(4)
        await page.press("f", "z")
        finder = page.screen.query_one(TokenFinder)
        await page.until(lambda: finder.rows)
        banned = finder.rows[0].candidate
        shown = page.panel.distribution
        await page.press("z")
        await page.until(asked.is_set)
        await page.press("alt+x")
        go_on.set()
        await page.until(lambda: finder.rows and finder.rows[0].candidate != banned)
        await page.until(lambda: page.panel.distribution is not shown)
