"""What the screens of the settings look like: pictures that are compared with those
kept. `test_pictures` says how new ones are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmtui.config.load import load
from lmtui.config.settings import names
from lmtui.config.settings_file import SettingsFile
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.preferences import Preferences
from lmtui.tui.settings.screen import SettingsScreen
from tests.fakes import FakeEngine
from tests.tui.pictures import Compare, looks_as_kept
from tests.tui.programs import Program

FILE = """\
threads = 2

[sampling]
top_k = 30

[presets.pirate]
system = "You are a pirate. [bold]Arr[/nope]"
temperature = 1.2
"""


@pytest.fixture
def app(tmp_path: Path) -> LmtuiApp:
    """The program with a settings file and a variable that counts before it."""
    file = tmp_path / "config.toml"
    file.write_text(FILE)
    env = {"LMTUI_TOP_P": "0.9"}
    started = load(environment=env, file=file)
    settings = SettingsFile(started, environment=env, file=file)
    return LmtuiApp(
        lambda _: lambda _: FakeEngine(["a"]),
        AppOptions(
            sampling=SamplingSettings(seed=1),
            preferences=Preferences(settings_file=settings),
        ),
    )


async def search(running: Program, words: str) -> None:
    """The settings that have these words."""
    await running.ready()
    await running.press("f10")
    await running.on(SettingsScreen)
    await running.until(lambda: f"{len(names())} settings" in running.seen)
    await running.press(*words)


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
def test_the_list(snap_compare: Compare, app: LmtuiApp, size: tuple[int, int]) -> None:
    async def show(running: Program) -> None:
        await search(running, "prob")
        await running.press("down", "down")
        await running.until(lambda: "LMTUI_TOP_P is given" in running.seen)

    assert looks_as_kept(snap_compare, app, show, size=size)


def test_a_value_that_is_refused(snap_compare: Compare, app: LmtuiApp) -> None:
    async def show(running: Program) -> None:
        await search(running, "ghost_tokens")
        await running.press("enter", "0", "enter")
        await running.until(lambda: "out of range" in running.seen)

    assert looks_as_kept(snap_compare, app, show, size=(80, 24))
