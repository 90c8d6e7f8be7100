"""On fewer than 70 columns the text has the room, and the panel comes when asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lmtui.editing.text_file import load
from lmtui.engine.document.suggestion import SuggestionRules
from lmtui.tui.editor.options import Writing
from lmtui.tui.inspect_source import InspectSource
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.sampler_controls import SamplerControls
from tests.fake_writing import FakeWriter
from tests.tui.programs import Program, assert_laid_out, program

TEXTS = {"chat": "#talk", "complete": "#editor", "inspect": "#tokens"}
SIZES = [(69, 20), (50, 15), (30, 8)]


@asynccontextmanager
async def shown(first: str, folder: Path) -> AsyncIterator[Program]:
    """A screen with a text, once the model is there."""
    file = folder / "draft.txt"
    file.write_text("the cat sat on the mat\n" * 20)
    rules = SuggestionRules(delay=3600.0, seconds=None, min_prob=None)
    written = Writing(load(file), 0, None, rules)
    async with program(
        {"default": FakeWriter()},
        first=first,  # type: ignore[arg-type]
        size=(50, 15),
        writing=written,
        source=InspectSource(file.name, read=file.read_text),
    ) as running:
        await running.ready()
        await running.until(lambda: running.app.screen.query(TEXTS[first]))
        yield running


@pytest.mark.parametrize("first", TEXTS)
async def test_panel_is_hidden_on_narrow_screens_until_f2(
    first: str, tmp_path: Path
) -> None:
    async with shown(first, tmp_path) as p:
        screen = p.app.screen
        text = screen.query_one(TEXTS[first])
        panel = screen.query_one(ProbabilityPanel)
        for width, height in SIZES:
            await p.pilot.resize_terminal(width, height)
            await p.until(lambda width=width: text.region.width == width)
            assert not panel.region
            alone = text.region.height
            await p.press("f2")
            await p.until(lambda: panel.region)
            assert text.region.width == width and 0 < text.region.height < alone
            assert panel.region.y >= text.region.bottom
            assert_laid_out(screen)
            await p.press("f2")
            await p.until(lambda: not panel.region)


@pytest.mark.parametrize("first", TEXTS)
async def test_panel_follows_the_width_until_f2_chooses(
    first: str, tmp_path: Path
) -> None:
    async with shown(first, tmp_path) as p:
        screen = p.app.screen
        panel = screen.query_one(ProbabilityPanel)

        async def at(width: int, *, shown: bool) -> None:
            await p.pilot.resize_terminal(width, 24)
            await p.until(lambda: screen.has_class("-folded") == (width < 70))
            await p.pilot.pause()  # the styles of this width, and their layout
            await p.until(lambda: bool(panel.region) == shown)
            assert_laid_out(screen)

        for width in (69, 70, 120, 50):
            await at(width, shown=width >= 70)
        await p.press("f2")  # shown
        for width in (50, 120, 69):
            await at(width, shown=True)
        await p.press("f2")  # folded, as by itself
        for width in (50, 120):
            await at(width, shown=width >= 70)
        await p.press("f2")  # hidden
        for width in (120, 50, 160, 50):
            await at(width, shown=False)
        await p.press("f2")  # shown, and nowhere hidden any more
        for width in (50, 120, 50):
            await at(width, shown=True)


@pytest.mark.parametrize("first", ["chat", "inspect"])
async def test_sampler_leaves_room_for_the_text_on_narrow_screens(
    first: str, tmp_path: Path
) -> None:
    async with shown(first, tmp_path) as p:
        await p.press("f4")
        sampler = p.app.screen.query_one(SamplerControls)
        await p.until(lambda: sampler.region)
        assert sampler.has_focus and p.app.screen.query_one(TEXTS[first]).region
