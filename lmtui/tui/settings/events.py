"""Messages about settings that were read or changed."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from lmtui.config.settings_file import SettingsSnapshot
from lmtui.setting_field import SettingValue


@dataclass(frozen=True, slots=True)
class SettingChanged:
    name: str
    value: SettingValue


@dataclass
class SettingsRead(Message):
    snapshot: SettingsSnapshot


@dataclass
class SettingSaved(SettingsRead):
    """A setting was written to the file or removed from it."""

    name: str


class PresetsSaved(SettingsRead):
    """A preset was written to the file or removed from it."""


class KeysSaved(SettingsRead):
    """Keys were written to the file or removed from it."""
