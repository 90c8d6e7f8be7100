"""Parsing of a setting's value, from text or from TOML.

Checks its type only; `settings` checks its range.
"""

from __future__ import annotations

import math
import sys
import tomllib

from lmtui.config.settings import item
from lmtui.errors import LmtuiError
from lmtui.setting_field import KINDS, Kind, SettingValue

_YES_OR_NO = {"true": True, "1": True, "false": False, "0": False}


def parse(name: str, text: str, location: str) -> SettingValue:
    """Parse a value from `text`; `location` is where it was set, for the error.

    Raises:
        LmtuiError: it is not of the setting's type.
    """
    kind = item(name).kind
    try:
        if kind is tuple:
            return _texts(text, item(name).declaration.items)
        return _YES_OR_NO[text.strip().lower()] if kind is bool else kind(text.strip())
    except (ValueError, KeyError):
        raise _not_a(kind, name, f"{text!r} in {location}", name=name) from None


def _texts(text: str, items: tuple[str, ...]) -> tuple[str, ...]:
    """Parse a list: a TOML array of texts, or texts separated by commas. Spaces belong
    to a text, unless it can only be one of `items`."""
    if not text.lstrip().startswith("["):
        parts = text.split(",")
        return tuple(filter(None, map(str.strip, parts) if items else parts))
    texts = tomllib.loads(f"texts = {text}")["texts"]
    if not all(isinstance(each, str) for each in texts):
        raise ValueError("not all are texts")
    return tuple(texts)


def typed(name: str, value: object, location: str, *, shown: str = "") -> SettingValue:
    """Return a TOML value in the setting's type; an integer is accepted as a float.
    `shown` is the setting's name in errors, where that is not its key."""
    kind = item(name).kind
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value) if abs(value) < sys.float_info.max else math.inf
    if kind is tuple and isinstance(value, list):
        if all(isinstance(item_value, str) for item_value in value):
            return tuple(value)
    elif type(value) is kind:
        return value
    raise _not_a(kind, shown or item(name).key, f"{value!r} in {location}", name=name)


def written(name: str, text: str) -> SettingValue:
    """Parse a value that was typed into a field; None where the setting is to be
    unset."""
    setting = item(name)
    if not text.strip() and setting.field.default is None:
        return None
    try:
        value = parse(name, text, "")
    except LmtuiError:
        title = f"{setting.key} is not {KINDS[setting.kind]}"
        raise LmtuiError(title, repr(text.strip()), limits(name)) from None
    setting.check(value)
    return value


def limits(name: str) -> str:
    """Return the range of a numeric setting, in the words of its error; empty for other
    types."""
    setting = item(name)
    if setting.kind not in (int, float):
        return ""
    return setting.declaration.hint or f"Give {KINDS[setting.kind]}."


def _not_a(kind: Kind, shown: str, written: str, *, name: str) -> LmtuiError:
    meaning = item(name).declaration.meaning
    return LmtuiError(f"{shown} is not {KINDS[kind]}", written, meaning)
