"""An app whose settings can be seen and changed while it runs.

Owns the way to the screen of the settings, and what of a change counts at once: the
theme, the keys, the presets, how a token is drawn and how a conversation is held. Knows
nothing of what else there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.reactive import var
from textual.screen import ModalScreen

from lmtui import settings as fields
from lmtui.sections.chat import FOLLOWED
from lmtui.sections.presets import Preset
from lmtui.sections.sampling import SAMPLING
from lmtui.tui import setting_facts as facts
from lmtui.tui.preferences import Preferences, PreferencesApp
from lmtui.tui.screens.settings import SettingsScreen


class SettingsApp(PreferencesApp):
    """Follows the settings as they are changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f10", "settings", "Settings", id="app.settings",
                tooltip="See every setting and preset, and change them."),
    ]  # fmt: skip

    kept_sampling: var[Mapping[str, Any]] = var({})
    """How a token is drawn, as far as that was set since the program began; every
    screen with a sampler follows this."""
    kept_chat: var[facts.Kept | None] = var(None, always_update=True)
    """The setting of conversations that was changed last; the chat follows this."""
    presets: var[Mapping[str, Preset]] = var({})
    """The presets by name; every screen that offers them looks here."""

    def __init__(self, preferences: Preferences) -> None:
        super().__init__(preferences)
        self._settings_file = file = preferences.settings_file
        self.set_reactive(SettingsApp.presets, file.presets if file else {})

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Without a file there is nothing to change."""
        if action == "settings":
            return self._settings_file is not None
        return super().check_action(action, parameters)

    def action_settings(self) -> None:
        """Show the settings, over what is shown now."""
        shown = any(isinstance(each, SettingsScreen) for each in self.screen_stack)
        if self._settings_file is None or shown or isinstance(self.screen, ModalScreen):
            return
        themes = {"theme": tuple(self.available_themes)}
        self.push_screen(SettingsScreen(self._settings_file, choices=themes))

    @on(facts.SheetRead)
    def follow_presets(self, event: facts.SheetRead) -> None:
        """The presets are what the file says."""
        self.presets = event.sheet.kept.presets

    @on(facts.KeysKept)
    def follow_keys(self, event: facts.KeysKept) -> None:
        """The keys are what the file says."""
        self.use_keys(event.sheet.kept.keys)

    @on(facts.SettingKept)
    def follow_setting(self, event: facts.SettingKept) -> None:
        """A setting was changed: what can counts at once, but where a flag or a
        variable counts before the file."""
        name = event.name
        if event.sheet.stronger(name) is not None:
            return
        value = getattr(event.sheet.counting, name)
        if name == "theme":
            self.wear(value)
        elif fields.item(name).metadata["section"] == SAMPLING:
            self.kept_sampling = {**self.kept_sampling, name: value}
        elif name in FOLLOWED:
            self.kept_chat = facts.Kept(name, value)
