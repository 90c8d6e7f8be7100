"""Pictures of screens: how a program is brought to where one is compared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from lmtui.tui.app import LmtuiApp
from tests.tui.programs import Program

Show = Callable[[Program], Awaitable[None]]
Compare = Callable[..., bool]


def looks_as_kept(
    snap_compare: Compare, app: LmtuiApp, show: Show, *, size: tuple[int, int]
) -> bool:
    """Whether the program, once it was brought somewhere, looks as it did."""

    async def prepare(pilot: Pilot[Any]) -> None:
        running = Program(app, pilot)
        await show(running)
        await still(running)

    return snap_compare(app, terminal_size=size, run_before=prepare)


async def still(running: Program) -> None:
    """Take away what depends on the time, and wait until nothing changes."""
    for area in running.app.screen.query(TextArea):
        area.cursor_blink = False
    for field in running.app.screen.query(Input):
        field._pause_blink(visible=True)
    seen: list[str] = []
    while len(seen) < 5 or len(set(seen[-5:])) > 1:
        await running.pilot.pause(0.02)
        seen.append(running.seen)
