"""Tests of screens: how long a pilot waits after a key, and a dialog for its keys; and
what the apps of all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual import _wait
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

from lmtui.tui import dialogs


@pytest.fixture(autouse=True, scope="session")
def short_waits() -> None:
    """After each key a pilot sleeps until the process has used a twentieth of one such
    sleep. Textual's are 20 ms long: a third of the time of these tests. Nothing here
    relies on them: what takes time is waited for by what is seen."""
    _wait.SLEEP_GRANULARITY, _wait.SLEEP_IDLE = 0.004, 0.0002
    dialogs.PAUSE = 0.001


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
        yield parse
