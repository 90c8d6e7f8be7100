"""What the user prefers, and an app that follows it: a theme, keys, what is told once.

Owns which theme is shown, how another is chosen, and that a preference which can't be
followed is one notice and no more. Knows no screen of ours: the preferences come in as
values, and a choice goes out through a function.
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
from lmtui.text import visible
from lmtui.tui import themes
from lmtui.tui.background import aside
from lmtui.tui.keys import key_display, user_keys
from lmtui.tui.no_colour import ColourlessApp
from lmtui.tui.widgets.status import HintLine


def _keep_nothing(theme: str) -> str:
    return ""


def _never(name: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the settings say about the looks and the keys of the screens."""

    theme: str = themes.DEFAULT
    theme_folder: Path | None = None
    """Where the user's own themes are."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The user's keys by the id of what they do."""
    keep_theme: Callable[[str], str] = _keep_nothing
    """Writes a chosen theme down, and returns what the user should know about that;
    raises LmtuiError where it can't be written."""
    settings_file: SettingsFile | None = None
    """Where every setting can be changed; without it they can only be followed."""
    first_time: Callable[[str], bool] = _never
    """Whether a hint is to be shown, which from then on was; may wait for a disk."""


class ThemePalette(CommandPalette):
    """The list of themes; each is shown while the cursor is on it."""

    # Not dimmed: what is behind the list is what one looks at.
    DEFAULT_CSS = "ThemePalette { background: transparent; }"

    class Chosen(Message):
        """A theme was chosen."""

        def __init__(self, name: str) -> None:
            self.name = name
            super().__init__()

    def __init__(self) -> None:
        super().__init__([_ThemeNames], placeholder="Search for themes…")

    def on_mount(self) -> None:
        """Follow the theme."""
        self.app.theme_changed_signal.subscribe(self, self.wear)

    @on(OptionList.OptionHighlighted)
    def preview(self, event: OptionList.OptionHighlighted) -> None:
        """The cursor is on a theme."""
        if isinstance(event.option, Command) and event.option.hit.text:
            self.app.theme = event.option.hit.text

    def wear(self, theme: Theme) -> None:
        """Take on another theme, which Textual gives to the screens below alone."""
        self.app.stylesheet.update(self)
        self.refresh()


class _ThemeNames(Provider):
    """The names of the themes."""

    async def discover(self) -> Hits:
        """All names; the one in use first, where the cursor is when the list opens."""
        for name in sorted(self._names(), key=lambda name: name != self.app.theme):
            yield DiscoveryHit(name, self._choose(name), name)

    async def search(self, query: str) -> Hits:
        """The names that match."""
        matcher = self.matcher(query)
        for name in self._names():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), self._choose(name), name)

    def _names(self) -> Iterator[str]:
        yield from self.app.available_themes

    def _choose(self, name: str) -> Callable[[], object]:
        return partial(self.app.post_message, ThemePalette.Chosen(name))


class PreferencesApp(ColourlessApp):
    """An app in the user's colours, with the user's keys."""

    @dataclass
    class HintLookedUp(Message):
        """It was found out whether a hint is new to the user."""

        hint: HintLine
        is_new: bool

    def __init__(self, preferences: Preferences) -> None:
        # Before the base class, which asks for the colours.
        self._themes = themes.load_themes(preferences.theme_folder)
        self._preferences = preferences
        self.own_keys: Mapping[str, str] = {}
        """The keys of the user that are in force, by the id of what they do."""
        self._kept_theme = self._themes.or_default(preferences.theme).name
        super().__init__()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Every domain slot, so that the sheets parse under any theme."""
        return themes.variable_defaults(self._themes)

    def follow_preferences(self) -> None:
        """Put theme and keys in force, and tell what of them can't be."""
        foreign = set(self.available_themes)
        for theme in self._themes.themes:
            self.register_theme(theme)
        self.theme = self._kept_theme
        # Textual's own give no colours to what is drawn here.
        for name in foreign - {theme.name for theme in self._themes.themes}:
            self.unregister_theme(name)
        for skipped in self._themes.notices:
            self._warn("A theme was skipped", f"{skipped.path}: {skipped.reason}")
        if self._themes.get(self._preferences.theme) is None:
            error = self._themes.unknown(self._preferences.theme)
            self._warn(f"Unknown theme {error.detail}", error.hint)
        self.use_keys(self._preferences.keys)

    def use_keys(self, wanted: Mapping[str, str]) -> None:
        """Put keys in force, and tell which can't be."""
        keys = user_keys(wanted)
        self.own_keys = keys.keymap
        self.set_keymap(keys.keymap)
        for notice in keys.notices:
            self._warn("A key in the settings can't be used", notice)

    def get_key_display(self, binding: Binding) -> str:
        """A key as people write it."""
        return key_display(binding.key)

    def wear(self, theme: str) -> None:
        """Show a theme, and come back to it after a preview."""
        self.theme = self._kept_theme = self._themes.or_default(theme).name

    def search_themes(self) -> None:
        """Open the list of themes."""
        self.push_screen(ThemePalette())

    @on(CommandPalette.Closed)
    def end_preview(self, event: CommandPalette.Closed) -> None:
        """Back to the theme that was there, unless another was chosen."""
        if not event.option_selected:
            self.theme = self._kept_theme

    @on(ThemePalette.Chosen)
    def keep_theme(self, event: ThemePalette.Chosen) -> None:
        """Show the chosen theme, and remember it."""
        self.wear(event.name)
        try:
            remark = self._preferences.keep_theme(event.name)
        except LmtuiError as error:
            self._warn("The theme was not saved", f"{error}\n{error.hint}")
        else:
            if remark:
                self.notify(visible(remark), title="Theme saved", markup=False)

    @on(HintLine.Wondered)
    def look_up_hint(self, event: HintLine.Wondered) -> None:
        """Find out whether a hint was ever seen."""
        hint, first_time = event.hint, self._preferences.first_time
        name = hint.name or ""

        def work() -> Message:
            return self.HintLookedUp(hint, first_time(name))

        aside(work, self.post_message, otherwise=self.HintLookedUp(hint, False))

    @on(HintLookedUp)
    def show_hint(self, event: HintLookedUp) -> None:
        """Show it where it is new."""
        if event.is_new and event.hint.is_mounted:
            event.hint.show()

    def _warn(self, title: str, text: str) -> None:
        self.notify(
            visible(text), title=title, severity="warning", markup=False, timeout=12
        )
