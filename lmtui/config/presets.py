"""Presets of `config.toml`: parsing, look-up by name, and edits of the file.

`settings` defines what a preset is; `toml_file` writes the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lmtui.config.settings import KEYS, PRESETS, SYSTEM, Preset, check_name, item
from lmtui.config.toml_file import Put
from lmtui.config.values import typed
from lmtui.errors import LmtuiError


def presets_in(table: object, file: Path) -> dict[str, Preset]:
    """Parse the table `presets` of the file."""
    if not isinstance(table, dict):
        raise _no_table(PRESETS, table, file)
    return {name: _preset(name, said, file) for name, said in table.items()}


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


def puts_of(preset: Preset) -> Iterator[Put]:
    """Yield the edits that write a preset into the file."""
    values: dict[str, Any] = {**preset.sampling}
    if preset.system is not None:
        values[SYSTEM] = preset.system
    for key in KEYS:
        if key in values:
            value = list(values[key]) if type(values[key]) is tuple else values[key]
            yield Put((PRESETS, preset.name, key), value)


def _preset(name: str, said: object, file: Path) -> Preset:
    if not isinstance(said, dict):
        raise _no_table(f"{PRESETS}.{name}", said, file)
    try:
        check_name(name)
        return Preset(name, _system(name, said, file), dict(_values(name, said, file)))
    except LmtuiError as error:
        detail = (
            error.detail if str(file) in error.detail else f"{error.detail} in {file}"
        )
        raise LmtuiError(error.title, detail.strip(), error.hint) from None


def _system(name: str, said: Mapping[str, object], file: Path) -> str | None:
    system = said.get(SYSTEM)
    if system is None or isinstance(system, str):
        return system
    hint = "The system prompt of the preset; in quotes, or in three for several lines."
    title = f"{PRESETS}.{name}.{SYSTEM} is not text in quotes"
    raise LmtuiError(title, f"{system!r} in {file}", hint)


def _values(
    name: str, said: Mapping[str, object], file: Path
) -> Iterator[tuple[str, Any]]:
    for key, value in said.items():
        key_path = f"{PRESETS}.{name}.{key}"
        if key == SYSTEM or key not in KEYS:
            continue
        drawn = typed(key, value, str(file), shown=key_path)
        try:
            item(key).check(drawn)
        except LmtuiError as error:
            detail = f"{error.detail} in {key_path} of {file}"
            raise LmtuiError(error.title, detail, error.hint) from None
        yield key, drawn


def _no_table(name: str, value: object, file: Path) -> LmtuiError:
    hint = 'Write [presets.pirate], for example, and below it system = "…".'
    return LmtuiError(f"{name} is not a table", f"{value!r} in {file}", hint)
