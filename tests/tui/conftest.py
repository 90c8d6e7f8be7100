"""Tests of screens: how long a pilot waits after a key, and a dialog for its keys; and
what the apps of all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from textual import app, pilot
from textual.app import ScreenStackError
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

from tests.tui import hosts

_wait_for_screen = pilot.Pilot._wait_for_screen


async def wait_for_screen(self: pilot.Pilot[Any], timeout: float = 30) -> bool:
    """Wait until all messages are handled: a message to each widget, as Textual sends,
    says so only where the process does not rest. A timer would draw what is due up to
    a sixtieth of a second later."""
    rests = await hosts.rest(max_sleep=0.02) or await _wait_for_screen(self, timeout)
    with suppress(ScreenStackError):
        for _ in range(3):  # a layout tells widgets their sizes, which draw again
            screen = self.app.screen
            if not (screen._layout_required or screen._dirty_widgets):
                break
            screen._on_timer_update()
            rests = await hosts.rest(max_sleep=0.02)
    return rests


@pytest.fixture(autouse=True, scope="session")
def short_waits() -> Iterator[None]:
    """Wait after each key only until it is answered. Nothing here relies on more: what
    takes time is waited for by what is seen."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (app, pilot):
            patch.setattr(module, "wait_for_idle", hosts.rest)
        patch.setattr(pilot.Pilot, "_wait_for_screen", wait_for_screen)
        yield


@pytest.fixture(autouse=True, scope="session")
def unshared_rules() -> Iterator[Callable[..., list[RuleSet]]]:
    """Parse each source of styles once for the same variables. Each app would parse all
    of them anew, and only reads what comes of it. Yields what parses for one app."""
    parse, parsed = Stylesheet._parse_rules, dict[object, list[RuleSet]]()

    def parse_once(sheet: Stylesheet, css: str, **options: Any) -> list[RuleSet]:
        variables = frozenset(sheet._variables.items())
        key = (css, tuple(sorted(options.items())), variables)
        if key not in parsed:
            parsed[key] = parse(sheet, css, **options)
        return parsed[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        # Textual's is the same in Python, where each rule is looked for in sets.
        patch.setattr(RuleSet, "__hash__", object.__hash__)
        yield parse
