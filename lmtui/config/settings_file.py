"""Reading and editing of settings in `config.toml`, beside the values in effect.

An edit is refused if the file was changed by another program meanwhile. Everything here
waits for the disk. Knows no screen.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmtui import paths
from lmtui.config import toml_file
from lmtui.config.load import KEYS, load
from lmtui.config.presets import puts_of
from lmtui.config.settings import (
    PRESETS,
    Origin,
    Preset,
    Settings,
    check_name,
    item,
    names,
)
from lmtui.config.toml_file import Drop, Put, TomlEdit, TomlPath, change
from lmtui.errors import LmtuiError
from lmtui.setting_field import SettingValue


@dataclass(frozen=True, slots=True)
class SettingsSnapshot:
    """All settings, as they were when the file was read."""

    counting: Settings
    """The settings that would be in effect if the program started now, with the same
    flags."""
    saved: Settings
    """The settings of the file alone."""
    text: str

    def stronger(self, name: str) -> Origin | None:
        """Return the flag or variable that overrides the file, if any."""
        origin = self.counting.origin(name)
        return origin if origin.source in ("flag", "environment") else None


class SettingsFile:
    """`config.toml`, with the flags of `started` and the environment."""

    def __init__(
        self,
        started: Settings,
        *,
        environment: Mapping[str, str] | None = None,
        file: Path | None = None,
    ) -> None:
        self._flags = {
            name: started.value(name)
            for name in names()
            if started.origin(name).source == "flag"
        }
        self._environment = dict(os.environ if environment is None else environment)
        self._path = file or paths.config_file()
        self.presets = started.presets
        """The presets when the program started."""

    def read(self) -> SettingsSnapshot:
        """Read the settings as they are now."""
        # The text first: a change between the two reads is then noticed.
        text = toml_file.text_of(self._path)
        return SettingsSnapshot(
            load(self._flags, environment=self._environment, file=self._path),
            load(environment={}, file=self._path),
            text,
        )

    def put(
        self, seen: SettingsSnapshot, name: str, value: SettingValue
    ) -> SettingsSnapshot:
        """Write a setting into the file. None removes it, so that the default, or a
        flag or variable, is in effect.

        Raises:
            LmtuiError: it can't have this value, or the file can't be changed.
        """
        key_path = tuple(item(name).key.split("."))
        if value is None:
            return self._change(seen, [Drop(key_path)])
        item(name).check(value)
        kept = list(value) if isinstance(value, tuple) else value
        return self._change(seen, [Put(key_path, kept)])

    def put_keys(
        self, seen: SettingsSnapshot, id: str, keys: str | None
    ) -> SettingsSnapshot:
        """Write the key binding of an action into the file; None removes it."""
        table = toml_file.parsed(self._path, seen.text).get(KEYS, {})
        key_path = (KEYS, *(_place(table, id) or (id,)))
        return self._change(
            seen, [Drop(key_path) if keys is None else Put(key_path, keys)]
        )

    def put_preset(self, seen: SettingsSnapshot, preset: Preset) -> SettingsSnapshot:
        """Write a new preset."""
        _check_preset(preset, seen.saved.presets)
        return self._change(seen, puts_of(preset))

    def drop_preset(self, seen: SettingsSnapshot, name: str) -> SettingsSnapshot:
        """Remove a preset from the file."""
        return self._change(seen, [Drop((PRESETS, name))])

    def _change(
        self, seen: SettingsSnapshot, changes: Iterable[TomlEdit]
    ) -> SettingsSnapshot:
        change(self._path, changes, seen=seen.text)
        return self.read()


def _place(table: Mapping[str, Any], id: str) -> TomlPath:
    """Return the path of `chat.stop` in a table, as one name or in a table of its own;
    empty where it has none."""
    if isinstance(table.get(id), str):
        return (id,)
    for name, inner in table.items():
        inside = isinstance(inner, dict) and id.startswith(f"{name}.")
        if inside and (rest := _place(inner, id.removeprefix(f"{name}."))):
            return (name, *rest)
    return ()


def _check_preset(preset: Preset, others: Mapping[str, Preset]) -> None:
    """Refuse a preset that can't be added to the others."""
    check_name(preset.name)
    if preset.name in others:
        hint = "Choose another name, or delete that preset: F8 in the settings (F10)."
        raise LmtuiError("a preset of this name already exists", preset.name, hint)
    if preset.system is None and not preset.sampling:
        hint = "Set the system prompt, or a sampler setting."
        raise LmtuiError("the preset is empty", preset.name, hint)
