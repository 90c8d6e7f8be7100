"""Small apps around one widget, and the texts that try to break it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual._context import visible_screen_stack
from textual.app import ComposeResult
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from lmtui.tui.plain_app import PlainApp
from lmtui.tui.themes import load_themes, variable_defaults
from lmtui.tui.widgets.styled_lines import StyledLines

THEMES = load_themes()

HOSTILE = {
    "ansi": "\x1b[31mred\x1b[0m\x1b]52;c;aGk=\x07",
    "c1": "\x9b31m\x85\x90",
    "markup": "[bold]x[/bold][@click=app.bell]y[/]",
    "closing": "[/x]",
    "bidi": "\u202eevil\u2066",
    "marks": "e" + "\u0301" * 1000,
    "lone marks": "\u0301" * 1000,
    "nul": "\0a\0",
    "wide": "x" * 10_000,
    "wide characters": "漢" * 5_000,
    "families": "👨‍👩‍👧‍👦" * 50,
    "half a pair": "\ud800",
    "nothing": "",
}
FORBIDDEN = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u202e", "\u2066"}


class Host(PlainApp):
    """One widget, and every message of ours that it posts."""

    def __init__(self, widget: Widget) -> None:
        super().__init__()
        self.widget = widget
        self.posted: list[Message] = []

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(THEMES)

    def compose(self) -> ComposeResult:
        yield self.widget

    def hook(self, message: Message) -> None:
        """For `run_test(message_hook=…)`; a bubbling message counts once."""
        ours = type(message).__module__.startswith("lmtui.")
        if ours and not any(message is seen for seen in self.posted):
            self.posted.append(message)

    def lines(self) -> list[str]:
        """What stands on the screen."""
        return [strip.text.rstrip() for strip in self.strips()]

    def strips(self) -> list[Strip]:
        """The same by cells."""
        return drawn(self.screen)

    def text(self) -> str:
        """The same as one text."""
        return "\n".join(self.lines())


@asynccontextmanager
async def hosted(
    widget: Widget, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    """One widget on a screen, whose messages are stored."""
    app = Host(widget)
    async with app.run_test(size=size, message_hook=app.hook) as pilot:
        yield app, pilot


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Let an app run until something is seen, which is looked for where it rests."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited for in vain"
        await asyncio.sleep(0.003)
        await rest(max_sleep=0.03)
        pilot.app.screen._on_timer_update()  # as `pilot.pause` draws what has changed


async def rest(min_sleep: float = 0, max_sleep: float = 1) -> bool:
    """Wait until the process has nothing to do for two milliseconds, and return whether
    it has: Textual's `wait_for_idle`, whose 20 ms after each key are a third of the
    time of a test."""
    loop, start = asyncio.get_running_loop(), time.monotonic()
    while time.monotonic() < start + max_sleep:
        used = time.process_time()
        await asyncio.sleep(0.002)
        rests = time.process_time() - used < 0.0005 and not loop._ready  # type: ignore[attr-defined]
        if rests and time.monotonic() > start + min_sleep:
            return True
    return False


async def resized(pilot: Pilot[Any], width: int, height: int) -> None:
    """Resize the terminal of a `Host`, and wait until its widget follows."""
    app = pilot.app
    assert isinstance(app, Host)
    await pilot.resize_terminal(width, height)
    await until(pilot, lambda: app.screen.size == (width, height))
    await until(pilot, lambda: app.widget.outer_size.width == width)
    await pilot.pause()  # the widget is told


def drawn(screen: Screen[Any]) -> list[Strip]:
    """What a screen draws, over the screens below it: Textual caches what is drawn
    first, so nothing may be drawn without them."""
    visible_screen_stack.set(screen.app._background_screens)
    return screen._compositor.render_strips()


def written(widget: StyledLines) -> list[str]:
    """The lines of a widget before they are fitted into its width."""
    lines = widget.lines(*widget.content_size)
    return ["".join(text for text, _ in line) for line in lines]


def safe(text: str) -> bool:
    """Whether nothing that a terminal obeys is in a drawn text."""
    return not FORBIDDEN & set(text.replace("\n", ""))
