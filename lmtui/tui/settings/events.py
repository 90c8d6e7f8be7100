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


class SheetRead(Message):
    def __init__(self, sheet: SettingsSnapshot) -> None:
        self.sheet = sheet
        super().__init__()


class SettingSaved(SheetRead):
    """A setting was written to the file or removed from it."""

    def __init__(self, sheet: SettingsSnapshot, name: str) -> None:
        self.name = name
        super().__init__(sheet)


class PresetsSaved(SheetRead):
    """A preset was written to the file or removed from it."""


class KeysSaved(SheetRead):
    """Keys were written to the file or removed from it."""
