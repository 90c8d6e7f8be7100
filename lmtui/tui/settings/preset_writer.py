"""Writes a screen's sampling settings and system prompt into the settings file.

Knows no screen.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from lmtui.config.settings import SAMPLING, Preset, item, names
from lmtui.config.settings_file import SettingsFile, SettingsSnapshot
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.errors import LmtuiError
from lmtui.tui.app_messages import PresetNamed, SettingsRead
from lmtui.tui.background import run_in_thread
from lmtui.tui.dialogs import notify_error

if TYPE_CHECKING:
    from textual.app import App

_NO_FILE = LmtuiError("the preset was not saved", "there is no settings file")


def save_preset(app: App[Any], file: SettingsFile | None, named: PresetNamed) -> None:
    """Save the settings that differ from the defaults, or from those of the settings
    file, with the system prompt. No preset is replaced."""
    if file is None:
        notify_error(app, _NO_FILE)
        return

    def work() -> SettingsSnapshot:
        snapshot = file.read()
        changed = dict(_changed(named.settings, snapshot))
        preset = Preset(named.name, named.system or None, changed)
        return file.put_preset(snapshot, preset)

    def report(snapshot: SettingsSnapshot) -> None:
        app.post_message(SettingsRead(snapshot))
        preset = snapshot.saved.presets[named.name]
        keys = [*preset.sampling, *(["system"] if preset.system else [])]
        app.notify(", ".join(keys), title=f"preset {preset.name} saved")

    failed, bug = partial(notify_error, app), _NO_FILE.title
    run_in_thread(work, app.call_later, report, failed=failed, bug=bug)


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
