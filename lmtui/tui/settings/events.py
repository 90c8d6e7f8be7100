"""Messages about settings that were read, changed or could not be."""

from __future__ import annotations

from dataclasses import dataclass

from textual.message import Message

from lmtui.config.settings import SettingValue
from lmtui.config.settings_file import SettingsSnapshot
from lmtui.errors import LmtuiError


@dataclass(frozen=True, slots=True)
class SettingChanged:
    """A setting and its effective value."""

    name: str
    value: SettingValue


class SheetRead(Message):
    """The settings were read."""

    def __init__(self, sheet: SettingsSnapshot, *, asked: int = 0) -> None:
        self.sheet = sheet
        self.asked = asked
        """The number of the read that is answered; 0 after a change."""
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


class SheetFailed(Message):
    """The settings could not be read."""

    def __init__(self, error: LmtuiError, *, asked: int = 0) -> None:
        self.error = error
        self.asked = asked
        super().__init__()


class KeepingSettingFailed(SheetFailed):
    """A change was not written; the file is as it was."""
