"""The user's theme and keys: followed, remembered, and never a reason to crash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui import themes
from lmtui.tui.app import LmtuiApp
from lmtui.tui.app_options import AppOptions
from lmtui.tui.help import HelpScreen
from lmtui.tui.keys import all_bound, shown_actions
from lmtui.tui.preferences import Preferences, PreferencesApp, ThemePalette
from tests.fakes import FakeEngine
from tests.tui.hosts import drawn, until

SHIPPED = {theme.name: theme for theme in themes.load_themes().themes}


class Host(PreferencesApp):
    """An app that shows one text on the ground of its theme."""

    CSS = "Screen { background: $background; } Static { background: $panel; }"

    def compose(self) -> ComposeResult:
        yield Static("text " * 20)

    def on_mount(self) -> None:
        self.follow_preferences()

    @property
    def ground(self) -> str:
        """What the text is drawn on now."""
        first = next(iter(drawn(self.screen)[0]))
        assert first.style and first.style.bgcolor and first.style.bgcolor.triplet
        return first.style.bgcolor.triplet.hex

    @property
    def notices(self) -> list[str]:
        """What was told, title and text."""
        return [f"{n.title}: {n.message}" for n in self._notifications]


@asynccontextmanager
async def host(preferences: Preferences) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    """A running host."""
    app = Host(preferences)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.pause()
        yield app, pilot


async def open_list(app: Host, pilot: Pilot[None]) -> None:
    """Open the list of themes and wait until it is there."""
    app.search_themes()
    await until(pilot, lambda: isinstance(app.screen, ThemePalette))
    await until(pilot, lambda: app.screen.has_class("-ready"))


async def test_preferred_theme_is_used_from_the_first_frame() -> None:
    async with host(Preferences("light")) as (app, _):
        assert app.theme == "light"
        assert app.ground == SHIPPED["light"].panel
        assert app.notices == []
        assert set(app.available_themes) == set(SHIPPED)


async def test_an_unknown_theme_is_one_notice(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("primary = 3")
    preferences = Preferences("lihgt\x1b[bold]", tmp_path)
    async with host(preferences) as (app, _):
        assert app.theme == themes.DEFAULT
        skipped, unknown = app.notices
        assert skipped.startswith("A theme was skipped: ")
        assert unknown.startswith("Unknown theme lihgt␛[bold]: ")
        assert "light" in unknown


async def test_unknown_setting_is_a_notice_with_its_name() -> None:
    preferences = Preferences(warnings=("unknown setting [b]modle: see \x1b",))
    async with host(preferences) as (app, _):
        assert app.notices == ["A setting was skipped: unknown setting [b]modle: see ␛"]


async def test_theme_list_previews_under_the_cursor_and_saves_the_choice() -> None:
    kept: list[str] = []

    def keep(name: str) -> str:
        kept.append(name)
        return "Where --theme is given, it still wins."

    async with host(Preferences("light", save_theme=keep)) as (app, pilot):
        await open_list(app, pilot)
        assert app.theme == "light"
        await pilot.press("down")
        await until(pilot, lambda: app.ground == SHIPPED["dark"].panel)
        assert kept == []
        await pilot.press("down", "enter")
        await until(pilot, lambda: kept)
        assert kept == [app.theme] == ["colour-blind-safe"]
        assert app.ground == SHIPPED["colour-blind-safe"].panel
        await until(pilot, lambda: app.notices)
        assert app.notices == ["Theme saved: Where --theme is given, it still wins."]


async def test_leaving_the_theme_list_restores_the_theme() -> None:
    kept: list[str] = []
    preferences = Preferences("light", save_theme=lambda name: kept.append(name) or "")
    async with host(preferences) as (app, pilot):
        await open_list(app, pilot)
        await pilot.press(*"high", "down")
        await until(pilot, lambda: app.theme.startswith("high"))
        await pilot.press("escape")
        await until(pilot, lambda: app.ground == SHIPPED["light"].panel)
        assert kept == []
        assert app.notices == []


async def test_theme_that_cannot_be_saved_is_still_used() -> None:
    def keep(name: str) -> str:
        raise LmtuiError("the file can't be written", "/x\x1b", "Make it writable.")

    async with host(Preferences(save_theme=keep)) as (app, pilot):
        await open_list(app, pilot)
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.notices)
        assert app.theme == "colour-blind-safe"
        (notice,) = app.notices
        assert notice.startswith("The theme was not saved: the file can't be written")
        assert "\x1b" not in notice


def program(keys: dict[str, str]) -> LmtuiApp:
    """The whole program over a scripted engine."""
    return LmtuiApp(
        lambda _: lambda _: FakeEngine(["answer"]),
        AppOptions(
            sampling=SamplingSettings(temperature=0),
            first="chat",
            preferences=Preferences(keys=keys),
        ),
    )


async def test_user_keys_work_and_are_shown_in_help_and_palette() -> None:
    app = program({"live.panel": "f11", "app.help": "f12", "no.such": "f6"})
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: app.screen.id != "_default")
        chat = app.screen
        was = chat.classes
        await pilot.press("f2")
        assert chat.classes == was
        await pilot.press("f11")
        await until(pilot, lambda: chat.classes != was)
        named = {binding.id: keys for binding, keys in shown_actions(chat)}
        assert named["live.panel"] == "F11"
        titles = [command.title for command in app.get_system_commands(chat)]
        assert "Panel  (F11)" in titles
        await pilot.press("f12")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        help_ = app.screen
        assert isinstance(help_, HelpScreen)
        keys = {
            item.id: help_._keys(item)
            for section in help_._sections
            for item in section.bound
        }
        assert (keys["live.panel"], keys["app.help"]) == ("F11", "F12")
        await pilot.press("f12")
        await until(pilot, lambda: app.screen is chat)
        shown = {a.binding.id: key for key, a in chat.active_bindings.items()}
        assert shown["live.panel"] == "f11"
        assert shown["app.help"] == "f12"
        (notice,) = list(app._notifications)
        assert notice.message.startswith("no.such: there is no such action")


async def test_every_key_of_the_program_has_a_name() -> None:
    """Also those of Textual that are in force everywhere."""
    known = {item.id for item in all_bound()}
    app = program({})
    # Every screen with a model takes Ctrl+C, under a name of its own.
    assert {key for key, b in app._bindings if b.id not in known} == {"ctrl+c"}
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.id != "_default")
        ours = {b.id for b, _ in shown_actions(app.screen) if b.id}
        assert ours <= known
