"""The user's preferences, and an app base class that applies them: theme, keys, hints.

A preference that can't be applied becomes a notice. Knows no screen of lmtui.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from textual import on
from textual.binding import Binding
from textual.command import (
    Command,
    CommandPalette,
    DiscoveryHit,
    Hit,
    Hits,
    Provider,
)
from textual.message import Message
from textual.theme import Theme
from textual.widgets import OptionList

from lmtui.config.settings_file import SettingsFile
from lmtui.errors import LmtuiError
from lmtui.tui import themes
from lmtui.tui.background import run_in_thread
from lmtui.tui.keys import key_display, user_keys
from lmtui.tui.lazy_styles import LazyStylesheet
from lmtui.tui.plain_app import PlainApp
from lmtui.tui.widgets.status import HintLine


@dataclass(frozen=True, slots=True)
class Preferences:
    """Settings of the screens: theme, keys, and functions that store choices."""

    theme: str = themes.DEFAULT
    theme_folder: Path | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    """The user's keys by binding id."""
    warnings: tuple[str, ...] = ()
    """Sentences about what is unknown in the settings."""
    save_theme: Callable[[str], str] = lambda _: ""
    """Saves a chosen theme and returns a remark for the user, or ""; raises LmtuiError
    if it can't be saved."""
    settings_file: SettingsFile | None = None
    """File in which settings can be changed; None allows no changes."""
    first_time: Callable[[str], bool] = lambda _: False
    """Returns whether a hint is new to the user, and records it as shown; may wait for
    a disk."""


class ThemePalette(CommandPalette):
    # Not dimmed: the screen behind the list is the preview.
    DEFAULT_CSS = "ThemePalette { background: transparent; }"

    class ThemeChosen(Message):
        """A theme was chosen."""

        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

    def __init__(self) -> None:
        super().__init__([_ThemeNames], placeholder="Search for themes…")

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, self.apply_theme)

    @on(OptionList.OptionHighlighted)
    def preview(self, event: OptionList.OptionHighlighted) -> None:
        if isinstance(event.option, Command) and event.option.hit.text:
            self.app.theme = event.option.hit.text

    def apply_theme(self, theme: Theme) -> None:
        """Apply the theme to this screen, which Textual does for the ones below
        only."""
        self.app.stylesheet.update(self)
        self.refresh()


class _ThemeNames(Provider):
    async def discover(self) -> Hits:
        """Yield all names, the one in use first, where the cursor starts."""
        for name in sorted(self._names(), key=lambda name: name != self.app.theme):
            yield DiscoveryHit(name, self._choose(name), name)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name in self._names():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), self._choose(name), name)

    def _names(self) -> Iterator[str]:
        yield from self.app.available_themes

    def _choose(self, name: str) -> Callable[[], object]:
        return partial(self.app.post_message, ThemePalette.ThemeChosen(name))


class PreferencesApp(PlainApp):
    def __init__(self, preferences: Preferences) -> None:
        # Before the base class's __init__, which asks for the theme's variables.
        self._themes = themes.load_themes(preferences.theme_folder)
        self._preferences = preferences
        self.own_keys: Mapping[str, str] = {}
        """The user's keys in force, by binding id."""
        self._chosen_theme = self._themes.or_default(preferences.theme).name
        super().__init__()
        # Textual's own themes do not set the domain slots.
        for name in self.available_themes:
            self.unregister_theme(name)
        for theme in self._themes.themes:
            self.register_theme(theme)
        # Not on mount: with another theme, all sheets would be parsed again.
        self.set_reactive(PreferencesApp.theme, self._chosen_theme)
        self.stylesheet = LazyStylesheet(variables=self.get_css_variables())

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return defaults for the domain slots, so that sheets parse under any
        theme."""
        return themes.variable_defaults(self._themes)

    def follow_preferences(self) -> None:
        for warning in self._preferences.warnings:
            self._warn("A setting was skipped", warning)
        for skipped in self._themes.notices:
            self._warn("A theme was skipped", f"{skipped.path}: {skipped.reason}")
        if self._themes.get(self._preferences.theme) is None:
            error = self._themes.unknown(self._preferences.theme)
            self._warn(f"Unknown theme {error.detail}", error.hint)
        self.use_keys(self._preferences.keys)

    def use_keys(self, keymap: Mapping[str, str]) -> None:
        keys = user_keys(keymap)
        self.own_keys = keys.keymap
        self.set_keymap(keys.keymap)
        for notice in keys.notices:
            self._warn("A key in the settings can't be used", notice)

    def get_key_display(self, binding: Binding) -> str:
        return key_display(binding.key)

    def apply_theme(self, theme: str) -> None:
        """Show a theme, and make it the one that a preview returns to."""
        self.theme = self._chosen_theme = self._themes.or_default(theme).name

    def search_themes(self) -> None:
        self.push_screen(ThemePalette())

    @on(CommandPalette.Closed)
    def end_preview(self, event: CommandPalette.Closed) -> None:
        if not event.option_selected:
            self.theme = self._chosen_theme

    @on(ThemePalette.ThemeChosen)
    def save_theme(self, event: ThemePalette.ThemeChosen) -> None:
        self.apply_theme(event.name)
        try:
            remark = self._preferences.save_theme(event.name)
        except LmtuiError as error:
            self._warn("The theme was not saved", f"{error}\n{error.hint}")
        else:
            if remark:
                self.notify(remark, title="Theme saved")

    @on(HintLine.HintReady)
    def look_up_hint(self, event: HintLine.HintReady) -> None:
        hint, first_time = event.hint, self._preferences.first_time
        name = hint.name or ""

        def show_if_new(is_new: bool) -> None:
            if is_new and hint.is_mounted:
                hint.show()

        run_in_thread(lambda: first_time(name), self.call_later, show_if_new)

    def _warn(self, title: str, text: str) -> None:
        self.notify(text, title=title, severity="warning", timeout=12)
