"""Messages of the screens to the app: what the user wants loaded or shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textual.message import Message

from lmtui.config.settings_file import SettingsSnapshot
from lmtui.engine.sampling_settings import SamplingSettings
from lmtui.models.source import ModelRef
from lmtui.tui.inspect_source import InspectSource


@dataclass
class ModelChosen(Message):
    """The user wants another model or adapter, or the same again."""

    ref: ModelRef


@dataclass
class AdapterChosen(Message):
    """The user wants to use an adapter that a training run made."""

    ref: ModelRef
    screen: Literal["chat", "complete"]


@dataclass
class FileNamed(Message):
    """The user wants to edit a file, old or new."""

    path: Path


@dataclass
class NotesNamed(Message):
    """The user wants to fine-tune the model on a file or the files of a folder."""

    path: Path


@dataclass
class PresetNamed(Message):
    """The user wants to keep settings and a system prompt as a preset."""

    name: str
    settings: SamplingSettings
    system: str
    """Empty for none."""


@dataclass
class SettingsRead(Message):
    snapshot: SettingsSnapshot
    written: str = ""
    """The key that was written to the file or removed from it before; empty where it
    was only read."""


@dataclass
class SubjectChosen(Message):
    """The user wants to inspect a text that is shown elsewhere."""

    subject: InspectSource
