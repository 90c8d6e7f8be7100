"""Presets of `config.toml`: parsing, and look-up by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from lmtui.config.settings import KEYS, PRESETS, SYSTEM, Preset, check_name
from lmtui.config.values import not_a, typed
from lmtui.errors import LmtuiError
from lmtui.setting_field import KINDS

_TABLE = 'Write [presets.pirate], for example, and below it system = "…".'
_SYSTEM = "The system prompt of the preset; in quotes, or in three for several lines."


def presets_in(table: object) -> dict[str, Preset]:
    """Parse the table `presets` of the file."""
    if not isinstance(table, dict):
        raise not_a("a table", PRESETS, table, hint=_TABLE)
    return {name: _preset(name, said) for name, said in table.items()}


def preset_named(presets: Mapping[str, Preset], name: str) -> Preset:
    """Return the preset with that name."""
    if (preset := presets.get(name)) is not None:
        return preset
    close = get_close_matches(name, presets, n=1)
    if close:
        hint = f"Did you mean {close[0]}?"
    elif presets:
        hint = f"There is {', '.join(presets)}."
    else:
        hint = f'Write one into config.toml: [presets.{name}], system = "…".'
    raise LmtuiError("there is no preset of that name", name, hint)


def _preset(name: str, said: object) -> Preset:
    key = f"{PRESETS}.{name}"
    if not isinstance(said, dict):
        raise not_a("a table", key, said, hint=_TABLE)
    check_name(name)
    system = said.get(SYSTEM)
    if not isinstance(system, str | None):
        raise not_a(KINDS[str], f"{key}.{SYSTEM}", system, hint=_SYSTEM)
    sampling = {
        own: typed(own, value, shown=f"{key}.{own}")
        for own, value in said.items()
        if own in KEYS and own != SYSTEM
    }
    return Preset(name, system, sampling)
