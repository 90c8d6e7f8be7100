"""Drawing only what has changed: a terminal shows what it would show otherwise."""

from __future__ import annotations

from random import Random

import pytest
from textual.app import App, ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from lmtui.tui.partial_compositor import ChangedParts
from lmtui.tui.themes import load_themes, variable_defaults
from lmtui.tui.widgets.likelihood_strip import LikelihoodStrip
from lmtui.tui.widgets.markdown import MarkdownView
from tests.tui.shown import Shown
from tests.tui.widgets.test_likelihood_strip import scored

THEMES = load_themes()
WORDS = ("word ", "漢字 ", "*bold* ", "`code` ", "\n\n", "- item\n", "a", "e\u0301 ")


class Crowded(Screen[None]):
    """Widgets of several kinds, scrolled, cut off, and one above the others."""

    CSS = """
    #left { width: 3fr; height: 12; }
    #right { width: 2fr; border: solid red; padding: 1; height: 1fr; }
    #above { layer: above; width: 12; height: 5; background: blue; }
    Crowded { layers: below above; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._compositor = ChangedParts()

    def compose(self) -> ComposeResult:
        with Horizontal():
            with VerticalScroll(id="left"):
                yield Static("one\ntwo", id="head")
                yield MarkdownView("A **text**.")
                yield LikelihoodStrip()
            yield Static("right", id="right")
        yield Input("typed")
        yield Static("above", id="above")


class Crowd(App[None]):
    """An app with that screen."""

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(THEMES)

    def on_mount(self) -> None:
        self.push_screen(Crowded())


def change(screen: Screen[None], random: Random) -> None:
    """One of the things that make a screen draw."""
    words = screen.query_one(MarkdownView)
    match random.randrange(6):
        case 0:
            words.grow(random.choice(WORDS) * random.randrange(1, 9))
        case 1:
            screen.query_one(LikelihoodStrip).extend([scored(-random.random() * 9)])
        case 2:
            random.choice(list(screen.query(Static))).update(random.choice(WORDS) * 3)
        case 3:
            screen.query_one(VerticalScroll).scroll_to(
                y=random.randrange(9), animate=False
            )
        case 4:
            widget: Widget = random.choice(list(screen.query("*")))
            width, height = widget.size
            if width and height:
                x, y = random.randrange(width), random.randrange(height)
                widget.refresh(Region(x, y, 1 + x % 7, 1 + y % 3))
        case _:
            screen.query_one(Input).value = random.choice(WORDS).strip()


@pytest.mark.parametrize("seed", range(4))
async def test_partial_updates_equal_a_full_redraw(seed: int) -> None:
    random = Random(seed)
    app = Crowd()
    shown = Shown(app)
    async with app.run_test(size=(61, 24)) as pilot:
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, Crowded)
        for _ in range(30):
            above = screen.query_one("#above")
            if random.random() < 0.5:
                above.offset = random.randrange(60), random.randrange(20)
            elif random.random() < 0.2:
                above.display = not above.display
            for _ in range(random.randrange(1, 4)):
                change(screen, random)
            await pilot.pause(random.choice([0, 0, 0.02]))
            if random.random() < 0.1:
                await pilot.resize_terminal(
                    random.randrange(30, 90), random.randrange(10, 30)
                )
            while not shown.settled:
                await pilot.pause(0.01)
            assert shown.cells == shown.whole()
        assert shown.updates > 20


async def test_change_redraws_only_the_lines_it_changes() -> None:
    app = Crowd()
    async with app.run_test(size=(61, 24)) as pilot:
        await pilot.pause()
        screen = app.screen
        screen.query_one("#above").display = False
        await pilot.pause(0.1)
        right, left = screen.query_one("#right"), screen.query_one(MarkdownView)
        asked: dict[str, list[Region]] = {}
        for widget in screen.query("*"):
            asked[type(widget).__name__ + (widget.id or "")] = seen = []

            def noted(
                crop: Region,
                seen: list[Region] = seen,
                render: object = widget.render_lines,
            ) -> object:
                seen.append(crop)
                assert callable(render)
                return render(crop)

            widget.render_lines = noted  # type: ignore[method-assign, assignment]
        right.refresh(Region(0, 9, 3, 1))
        left.refresh(Region(0, 0, 3, 1))
        await pilot.pause(0.1)
        drawn = {name: regions for name, regions in asked.items() if regions}
        assert set(drawn) == {"Staticright", "MarkdownView"}
        assert all(region.height == 1 for seen in drawn.values() for region in seen)
