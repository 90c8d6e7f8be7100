"""The settings to be looked at and changed: what the file says, and what counts.

Owns what a change of one setting, of keys or of one preset does to `config.toml`, and
that nothing is written over what someone else wrote there meanwhile. Everything here
waits for a disk. Knows no screen.
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
from lmtui.config.presets import changes_for
from lmtui.config.settings import (
    PRESETS,
    Origin,
    Preset,
    Settings,
    SettingValue,
    check,
    check_name,
    key,
    names,
)
from lmtui.config.toml_file import Drop, Put, TomlEdit, TomlPath, change
from lmtui.errors import LmtuiError


@dataclass(frozen=True, slots=True)
class SettingsSnapshot:
    """Every setting, as it was read."""

    counting: Settings
    """What would count if the program began now, the same way as it did."""
    kept: Settings
    """What the file alone says."""
    text: str
    """The file itself."""

    def stronger(self, name: str) -> Origin | None:
        """The flag or the variable that counts whatever the file says, if any."""
        origin = self.counting.origin(name)
        return origin if origin.source in ("flag", "environment") else None


class SettingsFile:
    """`config.toml` beside the flags of `started` and the environment."""

    def __init__(
        self,
        started: Settings,
        *,
        environment: Mapping[str, str] | None = None,
        file: Path | None = None,
    ) -> None:
        self._flags = {
            name: getattr(started, name)
            for name in names()
            if started.origin(name).source == "flag"
        }
        self._environment = dict(os.environ if environment is None else environment)
        self._path = file or paths.config_file()
        self.presets = started.presets
        """The presets that there were when the program began."""

    def read(self) -> SettingsSnapshot:
        """The settings as they are now.

        Raises:
            LmtuiError: the file, or a variable, can't be used.
        """
        # First the text: what is written between the two reads is then noticed.
        text = toml_file.text_of(self._path)
        return SettingsSnapshot(
            load(self._flags, environment=self._environment, file=self._path),
            load(environment={}, file=self._path),
            text,
        )

    def put(
        self, seen: SettingsSnapshot, name: str, value: SettingValue
    ) -> SettingsSnapshot:
        """Write a setting into the file; None takes it out, so that the default, or
        what is stronger than the file, counts.

        Raises:
            LmtuiError: it can't have this value, or the file can't be changed.
        """
        place = tuple(key(name).split("."))
        if value is None:
            return self._change(seen, [Drop(place)])
        check(name, value)
        return self._change(seen, [Put(place, value)])

    def put_keys(
        self, seen: SettingsSnapshot, id: str, keys: str | None
    ) -> SettingsSnapshot:
        """Write the keys of something into the file; None takes them out.

        Raises:
            LmtuiError: the file can't be changed.
        """
        table = toml_file.parsed(self._path, seen.text).get(KEYS, {})
        place = (KEYS, *(_place(table, id) or (id,)))
        return self._change(seen, [Drop(place) if keys is None else Put(place, keys)])

    def put_preset(
        self, seen: SettingsSnapshot, preset: Preset, before: Preset | None = None
    ) -> SettingsSnapshot:
        """Write a preset, in place of `before` or as a new one.

        Raises:
            LmtuiError: it can't be used, its name is taken, or the file can't be
                changed.
        """
        check_preset(preset, before, seen.kept.presets)
        return self._change(seen, changes_for(preset, before))

    def drop_preset(self, seen: SettingsSnapshot, name: str) -> SettingsSnapshot:
        """Take a preset out of the file.

        Raises:
            LmtuiError: the file can't be changed.
        """
        return self._change(seen, [Drop((PRESETS, name))])

    def _change(
        self, seen: SettingsSnapshot, changes: Iterable[TomlEdit]
    ) -> SettingsSnapshot:
        change(self._path, changes, seen=seen.text)
        return self.read()


def _place(table: Mapping[str, Any], id: str) -> TomlPath:
    """Where a table has `chat.stop`, as one name or in a table of its own; nothing
    where it has not."""
    if isinstance(table.get(id), str):
        return (id,)
    for name, inner in table.items():
        inside = isinstance(inner, dict) and id.startswith(f"{name}.")
        if inside and (rest := _place(inner, id.removeprefix(f"{name}."))):
            return (name, *rest)
    return ()


def check_preset(
    preset: Preset, before: Preset | None, others: Mapping[str, Preset]
) -> None:
    """Refuse a preset that can't stand beside the others.

    Raises:
        LmtuiError: its name can't be used or is taken, or it says nothing.
    """
    check_name(preset.name)
    if preset.name in others and (before is None or before.name != preset.name):
        hint = "Choose another name, or change that preset."
        raise LmtuiError("a preset of this name already exists", preset.name, hint)
    if preset.system is None and not preset.sampling:
        hint = "Give it a system prompt, or a value below."
        raise LmtuiError("the preset is empty", preset.name, hint)
