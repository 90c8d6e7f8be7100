"""Reading and editing of settings in `config.toml`, beside the values in effect.

An edit is refused if the file was changed by another program meanwhile. Everything here
waits for the disk. Knows no screen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lmtui import paths
from lmtui.config import toml_file
from lmtui.config.load import load
from lmtui.config.settings import (
    PRESETS,
    SYSTEM,
    Origin,
    Preset,
    Settings,
    check_name,
    names,
)
from lmtui.config.toml_file import TomlPath, TomlValue
from lmtui.errors import LmtuiError


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
        self, seen: SettingsSnapshot, key: TomlPath, value: TomlValue | None
    ) -> SettingsSnapshot:
        """Write a value, which is known to be valid, into the file. None removes it, so
        that the default, or a flag or variable, is in effect.

        Raises:
            LmtuiError: the file can't be changed.
        """
        toml_file.change(self._path, key, value, seen=seen.text)
        return self.read()

    def put_preset(self, seen: SettingsSnapshot, preset: Preset) -> SettingsSnapshot:
        """Write a new preset."""
        _check_preset(preset, seen.saved.presets)
        system = {} if preset.system is None else {SYSTEM: preset.system}
        return self.put(seen, (PRESETS, preset.name), {**system, **preset.sampling})


def _check_preset(preset: Preset, others: Mapping[str, Preset]) -> None:
    """Refuse a preset that can't be added to the others."""
    check_name(preset.name)
    if preset.name in others:
        hint = "Choose another name, or delete that preset: F8 in the settings (F10)."
        raise LmtuiError("a preset of this name already exists", preset.name, hint)
    if preset.system is None and not preset.sampling:
        hint = "Set the system prompt, or a sampler setting."
        raise LmtuiError("the preset is empty", preset.name, hint)
