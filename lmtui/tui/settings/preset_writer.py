"""Writes a screen's sampling settings and system prompt into the settings file.

A preset of the same name is replaced only when the user says so. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from lmtui.config.settings import SAMPLING, Preset, check_name, item, names
from lmtui.config.settings_file import SettingsFile, SettingsSnapshot
from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.text import visible_line
from lmtui.tui.background import run_in_thread
from lmtui.tui.dialogs import Choice, ConfirmDialog, notify_error
from lmtui.tui.settings.events import PresetsSaved

if TYPE_CHECKING:
    from textual.app import App

_BUG = LmtuiError("the preset was not saved", "", "The log says more.")
_NO_FILE = LmtuiError("the preset was not saved", "there is no settings file")


class PresetWriter:
    def __init__(self, app: App[Any], file: SettingsFile | None) -> None:
        self._app, self._file = app, file

    def save(self, name: str, settings: SamplingSettings, system: str) -> None:
        """Save the settings that differ from the defaults, or from those of the
        settings file, with a system prompt, which may be empty; ask before another
        preset of that name is replaced."""
        try:
            check_name(name)
        except LmtuiError as error:
            notify_error(self._app, error)
            return
        self._write(name, settings, system, replaces=False)

    def _write(
        self, name: str, settings: SamplingSettings, system: str, *, replaces: bool
    ) -> None:
        file = self._file
        if file is None:
            notify_error(self._app, _NO_FILE)
            return

        def work() -> tuple[SettingsSnapshot, Preset] | None:
            snapshot = file.read()
            existing = snapshot.saved.presets.get(name)
            if existing is not None and not replaces:
                return None
            changed = dict(_changed(settings, snapshot))
            preset = Preset(name, system or None, changed)
            return file.put_preset(snapshot, preset, existing), preset

        def report(saved: tuple[SettingsSnapshot, Preset] | None) -> None:
            if saved is None:
                write = partial(self._write, name, settings, system)
                self._confirm_replace(name, write)
                return
            snapshot, preset = saved
            self._app.post_message(PresetsSaved(snapshot))
            saved_names = [*preset.sampling, *(["system"] if preset.system else [])]
            self._app.notify(
                ", ".join(saved_names),
                title=f"preset {visible_line(name)} saved",
                markup=False,
            )

        run_in_thread(
            work,
            self._app.call_later,
            then=report,
            failed=partial(notify_error, self._app),
            bug=_BUG,
        )

    def _confirm_replace(self, name: str, write: partial[None]) -> None:
        choices = (
            Choice("k", "Keep", "nothing is saved"),
            Choice("r", "Replace", "what it was is lost"),
        )
        title = f"There is a preset {name}. Replace it?"

        def write_if_confirmed(answer: str | None) -> None:
            if answer == "r":
                write(replaces=True)

        dialog = ConfirmDialog(title, [], choices, harmless="k")
        self._app.push_screen(dialog, write_if_confirmed)


def _changed(
    settings: SamplingSettings, snapshot: SettingsSnapshot
) -> Iterator[tuple[str, Any]]:
    """Yield the settings that a preset has to say: what it leaves out is as in effect.
    One that is unset can't be said."""
    effective = snapshot.counting.sampling
    for name in names(SAMPLING):
        value = getattr(settings, name)
        default = item(name).field.default
        if value is not None and {value, getattr(effective, name)} != {default}:
            yield name, value
