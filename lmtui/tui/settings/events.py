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
    written: str = ""
    """The key that was written to the file or removed from it before; empty where it
    was only read."""
