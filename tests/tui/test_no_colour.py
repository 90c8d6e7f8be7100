"""Without colours nothing is lost: attributes, shapes and letters say the same."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator

import pytest
from rich.segment import Segment
from textual.widget import Widget
from textual.widgets.option_list import Option

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.engine.types import ScoredToken
from lmtui.surprisal_scale import BOUNDS
from lmtui.tui.widgets.dialog_list import DialogList
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.probability_panel import ProbabilityPanel
from lmtui.tui.widgets.token_view import TokenView
from tests.fakes import FakeEngine
from tests.tui.hosts import THEMES, hosted

WORDS = ("zero", "one", "two", "three", "four", "five")
BITS = (0.0, *(bound + 0.01 for bound in BOUNDS))
# The first is for the cursor, which has a look of its own.
TOKENS = [
    ScoredToken(n, n, word, word.encode(), -bits * math.log(2), 3, 1.0)
    for n, (word, bits) in enumerate(zip(("here", *WORDS), (0.0, *BITS), strict=True))
]


@pytest.fixture(autouse=True)
def no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


async def drawn(widget: Widget) -> AsyncIterator[list[Segment]]:
    """What goes to the terminal for a widget in each of our themes; what is to be
    shown, it shows."""
    async with hosted(widget, (60, 20)) as (app, pilot):
        if isinstance(widget, TokenView):
            widget.show(TOKENS)
        elif isinstance(widget, ProbabilityPanel):
            widget.show(
                FakeEngine().next_distribution((97,), SamplingSettings()), chosen=32
            )
        elif isinstance(widget, LikelihoodStrip):
            widget.extend(TOKENS)
        elif isinstance(widget, DialogList):
            widget.add_options([Option("first line"), Option("second line")])
            widget.highlighted = 0
        for theme in THEMES.themes:
            app.register_theme(theme)
            app.theme = theme.name
            await pilot.pause()
            yield [segment for strip in app.strips() for segment in strip]


@pytest.mark.parametrize("kind", [TokenView, ProbabilityPanel, LikelihoodStrip])
async def test_widgets_draw_no_colour_under_no_color(kind: type[Widget]) -> None:
    async for segments in drawn(kind()):
        styles = [segment.style for segment in segments if segment.style]
        colours = [c for style in styles for c in (style.color, style.bgcolor) if c]
        assert colours
        assert all(colour.is_default for colour in colours)


async def test_steps_of_surprise_are_drawn_with_attributes() -> None:
    async for segments in drawn(TokenView()):
        looks = {}
        for text, style, _ in segments:
            if text.strip() in WORDS and style:
                attributes = (style.bold, style.underline, style.reverse)
                looks.setdefault(text.strip(), tuple(map(bool, attributes)))
        bold, line, back = True, True, True
        assert looks == {
            "zero": (not bold, not line, not back),
            "one": (not bold, not line, not back),
            "two": (not bold, line, not back),
            "three": (bold, line, not back),
            "four": (not bold, not line, back),
            "five": (bold, line, back),
        }


async def test_panel_and_strip_draw_shapes_and_letters() -> None:
    async for segments in drawn(ProbabilityPanel()):
        text = "".join(segment.text for segment in segments)
        assert {"▀", "▄", "●"} <= set(text)
        assert " m" in text or " p" in text
    async for segments in drawn(LikelihoodStrip()):
        text = "".join(segment.text for segment in segments)
        assert len(set(text) & set("▁▂▃▄▅▆▇█")) >= 3


@pytest.mark.parametrize("focused", [True, False])
async def test_highlighted_list_row_is_reversed(focused: bool) -> None:
    rows = DialogList(id="list")
    rows.can_focus = focused
    async for segments in drawn(rows):
        assert rows.has_focus == focused
        looks = {s.text.strip(): bool(s.style and s.style.reverse) for s in segments}
        assert looks["first line"] and not looks["second line"]
