"""The tables `[presets.NAME]`: a system prompt and a way of drawing, under a name.

Owns what a preset is and what it does to the sampling in use. What it does not say
stays as it is. Knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from lmtui.engine.types import SamplingSettings
from lmtui.errors import LmtuiError

PRESETS = "presets"
SYSTEM = "system"
KEYS = (SYSTEM, *(item.name for item in fields(SamplingSettings)))
"""What a preset can say."""
LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Preset:
    """What a conversation can begin with."""

    name: str
    system: str | None = None
    """The system prompt; None leaves the one there is."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """What it says of `SamplingSettings`, by name."""

    def applied(self, settings: SamplingSettings) -> SamplingSettings:
        """The settings as they are under this preset."""
        return replace(settings, **self.sampling)


def check_name(name: str) -> None:
    """Refuse a name that could not be asked for.

    Raises:
        LmtuiError: it is empty, too long, or can't be typed as it is shown.
    """
    if not name.strip():
        raise LmtuiError("a preset needs a name", "", "Give it a name, such as pirate.")
    if len(name) > LONGEST_NAME:
        hint = f"Use at most {LONGEST_NAME} characters."
        raise LmtuiError("the name of the preset is too long", name, hint)
    if name != name.strip() or not name.isprintable():
        hint = "Use visible characters, without spaces at its ends."
        raise LmtuiError("the name of the preset can't be typed", repr(name), hint)
